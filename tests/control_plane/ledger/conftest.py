"""The traffic of the test's organization, and a reader of its stream."""

from __future__ import annotations

import pytest

from control_plane.ledger.consumer import Consumer
from control_plane.releases.services import publish_at_start
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


@pytest.fixture
def traffic(api: Api, store: Store) -> Traffic:
    """Calls of the organization, which is in Berlin, ready to be admitted."""
    publish_at_start(api.organization.pk)
    return Traffic(store, api.organization)


@pytest.fixture
def consumer(store: Store) -> Consumer:
    return Consumer(store, "the test's own")
