"""What every test can ask for: a real Valkey, a real Postgres, and an organization that nobody else has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from kong_plugins.llm.store import Store
from tests.servers import postgres_server, valkey_server

# No example is timed: what a shared machine is doing besides is no property of ours.
settings.register_profile("test", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5_000, print_blob=True)
# Whether there is a fault, not the smallest case that shows it.
settings.register_profile("find", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile("test")

# The first process of the run chooses the addresses, before it starts workers.
valkey_server()


@pytest.fixture(scope="session")
def redis_address() -> str:
    """The URL of this worker's own database of a real Valkey."""
    return valkey_server().start()


@pytest.fixture(scope="session")
def postgres_address() -> str:
    """The URL of a real Postgres."""
    return postgres_server().start()


@pytest.fixture
def store(redis_address: str) -> Iterator[Store]:
    store = Store.from_url(redis_address, timeout_ms=5_000)
    yield store
    store.close()


@pytest.fixture
def organization() -> str:
    """The slug of an organization that no other test uses."""
    return f"org-{uuid.uuid4().hex[:12]}"
