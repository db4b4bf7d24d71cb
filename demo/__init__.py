"""Everything that a system without customers needs: a provider, data to start with, and traffic."""
