"""Checks of our own that no linter on the market makes."""
