"""End to end: the whole system, through an SDK on one side and the provider's books on the other."""
