"""The books are compared each minute: events of long ago are added up once an hour, the newest each time."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import Checkpoint, UsageEvent
from control_plane.ledger.reconciliation import first_difference, reconcile_all
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


def age(hours: int) -> None:
    """Let everything that is remembered be so much older."""
    Checkpoint.objects.update(made_at=F("made_at") - timedelta(hours=hours))


def until_ids(traffic: Traffic) -> set[int]:
    return set(Checkpoint.objects.filter(organization=traffic.slug).values_list("until_id", flat=True))


def newest_id(traffic: Traffic) -> int:
    return UsageEvent.objects.filter(organization=traffic.slug).latest("id").pk


def test_later_events_are_added_to_what_is_remembered(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    api.budget(amount=10**10, tier_shares_percent={"experimental": 50})
    api.budget(name="users", amount=10**10, scope="user", subject=None)
    speaking = api.create("keys", team="search", name="for users", speaks_for_users=True)["id"]
    traffic.call(amount_nusd=500, tier="experimental", key=speaking, user="alice")
    consumer.drain()
    assert first_difference(traffic.organization) is None
    first = newest_id(traffic)

    traffic.call(amount_nusd=70, tier="experimental", key=speaking, user="alice")
    traffic.call(amount_nusd=8, key=speaking, user="bob")
    consumer.drain()

    assert first_difference(traffic.organization) is None
    assert until_ids(traffic) == {first}, "within the hour nothing is added up anew"
    age(hours=2)
    assert first_difference(traffic.organization) is None
    assert until_ids(traffic) == {newest_id(traffic)}


def test_what_is_remembered_wrongly_is_a_difference_for_an_hour_at_most(
    api: Api, traffic: Traffic, consumer: Consumer
) -> None:
    api.team()
    api.budget(amount=10**10)
    traffic.call(amount_nusd=500)
    consumer.drain()
    assert first_difference(traffic.organization) is None

    Checkpoint.objects.filter(name__startswith="budget").update(sums=[["search", None, 499]])

    assert "events of 499 nano-USD, but 500 spent" in str(first_difference(traffic.organization))
    age(hours=2)
    assert first_difference(traffic.organization) is None


def test_what_nobody_asks_for_any_more_is_forgotten(traffic: Traffic) -> None:
    old = Checkpoint(organization=traffic.slug, name="long ago", until_id=1, made_at=timezone.now(), sums=[])
    old.save()
    age(hours=25)

    reconcile_all()

    assert not Checkpoint.objects.filter(name="long ago").exists()
