"""A large organization in databases of its own, which stay between runs."""

from __future__ import annotations
