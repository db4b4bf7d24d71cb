"""The traffic of the test's organization, and a reader of its stream."""

from __future__ import annotations

import pytest

from control_plane.ledger.consumer import Consumer
from control_plane.releases.services import open_admission
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


@pytest.fixture
def traffic(api: Api, store: Store) -> Traffic:
    """Calls of the organization, which is in Berlin, ready to be admitted."""
    open_admission(api.organization.pk)
    return Traffic(store, api.organization)


@pytest.fixture
def consumer(store: Store) -> Consumer:
    return Consumer(store, "the test's own")
