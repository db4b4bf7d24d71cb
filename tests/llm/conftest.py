"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from kong_plugins.llm.store import Store
from tests.llm.gateway import Gateway
from tests.llm.waiters import SLOT, Waiters, waiters_of


@pytest.fixture
def gateway(store: Store, organization: str) -> Gateway:
    """A gateway node with an organization of its own."""
    return Gateway(store, organization)


@pytest.fixture(scope="session")
def client(redis_address: str) -> Iterator[redis.Redis]:
    """Redis, past the store."""
    with redis.Redis.from_url(redis_address) as client:
        yield client


@pytest.fixture
def busy(gateway: Gateway) -> Gateway:
    """A gateway whose team has one slot."""
    gateway.publish(limits=(SLOT,))
    return gateway


@pytest.fixture
def waiters(busy: Gateway) -> Iterator[Waiters]:
    """Calls of the busy gateway's callers."""
    with waiters_of(busy) as waiters:
        yield waiters
