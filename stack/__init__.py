"""The whole system on one machine: what `make run` and `make smoke` start, and what end-to-end tests run against."""
