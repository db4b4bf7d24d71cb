"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from kong_plugins.llm.store import Store
from tests.llm.gateway import Gateway


@pytest.fixture
def gateway(store: Store, organization: str) -> Gateway:
    """A gateway node with an organization of its own."""
    return Gateway(store, organization)
