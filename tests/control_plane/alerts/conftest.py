"""A budget that can be crossed, the calls that cross it, and an endpoint that is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.ledger.consumer import Consumer
from control_plane.releases.services import publish_at_start
from kong_plugins.llm.store import Store
from tests.control_plane.alerts.receiver import Receiver, running_receiver
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic

SECRET = "whsec-of-the-tests"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def webhook(api: Api, receiver: Receiver) -> str:
    """The id of a webhook that points at the receiver."""
    return str(api.create("webhooks", url=receiver.url, secret=SECRET)["id"])


@pytest.fixture
def traffic(api: Api, store: Store) -> Traffic:
    """Calls of the team Search, which has a budget of 100,000 nano-USD a month."""
    api.team()
    api.budget(amount=100_000)
    publish_at_start(api.organization.pk)
    return Traffic(store, api.organization)


@pytest.fixture
def consumer(store: Store) -> Consumer:
    return Consumer(store, "the test's own")
