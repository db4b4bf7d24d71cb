"""Measurements: each prints one table and leaves the same rows in `.run/results/`."""
