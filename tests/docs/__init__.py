"""The documentation's commands, run as they stand."""
