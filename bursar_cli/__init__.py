"""The command line of Bursar: a client of its REST API, which knows nothing else of it."""
