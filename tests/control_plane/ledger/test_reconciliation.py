"""The books are compared, and the first difference is named."""

from __future__ import annotations

import threading

import pytest
import redis
from django.db import connection
from django.db.models import F

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.models import DayRollup, HourRollup, Reconciliation
from control_plane.ledger.reconciliation import first_difference, reconcile_all
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


@pytest.fixture
def budget(api: Api) -> str:
    """The id of a team's monthly budget of ten dollars."""
    api.team()
    return str(api.budget(amount=10_000_000_000)["id"])


def differences(traffic: Traffic) -> str:
    found = first_difference(traffic.organization)
    assert found is not None
    return found


def set_spent(
    redis_address: str, traffic: Traffic, budget: str, difference_nusd: int, *, subject: str = "search", tier: str = ""
) -> None:
    """Move what Redis believes, as a bug or a lost disk would."""
    with redis.Redis.from_url(redis_address) as client:
        names = list(client.scan_iter(f"bursar:{{{traffic.slug}}}:budget:{budget}:{subject}:month-*", count=1_000))
        client.hincrby(min(names), f"spent:{tier}" if tier else "spent", difference_nusd)


def test_books_agree_once_the_stream_is_drained(traffic: Traffic, consumer: Consumer, budget: str) -> None:
    for number in range(10):
        traffic.call(amount_nusd=number, team="search" if number % 2 else "support")
    traffic.void(traffic.hold())
    traffic.call(amount_nusd=None)

    assert "events of 0 nano-USD, but 25 spent in Redis" in differences(traffic)

    consumer.drain()
    aggregate_stale_days()
    assert first_difference(traffic.organization) is None


def test_an_event_that_is_on_its_way_is_waited_for(traffic: Traffic, consumer: Consumer, budget: str) -> None:
    traffic.call()

    def ingest() -> None:
        consumer.drain()
        connection.close()

    late = threading.Timer(0.2, ingest)
    late.start()
    assert first_difference(traffic.organization, patience_seconds=30) is None
    late.join()


def test_what_was_spent_while_a_budget_was_not_in_force_is_not_in_it(
    api: Api, traffic: Traffic, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=7)
    api.team()
    budget = api.budget(amount=10_000_000_000)
    traffic.call(amount_nusd=20)
    api.change(f"budgets/{budget['id']}", active=False)
    traffic.call(amount_nusd=300)
    api.change(f"budgets/{budget['id']}", active=True)
    traffic.call(amount_nusd=4_000)

    consumer.drain()

    assert first_difference(traffic.organization) is None


@pytest.mark.parametrize("difference_nusd", [-1, 1])
def test_redis_that_says_otherwise_is_found(
    traffic: Traffic, consumer: Consumer, budget: str, redis_address: str, difference_nusd: int
) -> None:
    traffic.call(amount_nusd=500)
    consumer.drain()
    set_spent(redis_address, traffic, budget, difference_nusd)

    assert f"events of 500 nano-USD, but {500 + difference_nusd} spent in Redis" in differences(traffic)


def test_a_tiers_share_and_a_users_own_counter_are_compared_too(
    api: Api, traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    api.team()
    pool = str(api.budget(name="pool", amount=10**10, tier_shares_percent={"experimental": 50})["id"])
    users = str(api.budget(name="users", amount=10**10, scope="user", subject=None)["id"])
    speaking = api.create("keys", team="search", name="for users", speaks_for_users=True)["id"]
    traffic.call(amount_nusd=500, tier="experimental", user="alice", key=speaking)
    consumer.drain()
    assert first_difference(traffic.organization) is None

    set_spent(redis_address, traffic, users, 1, subject="alice")
    assert "users · alice" in differences(traffic)
    set_spent(redis_address, traffic, users, -1, subject="alice")
    set_spent(redis_address, traffic, pool, 1, tier="experimental")
    assert "tier experimental: events of 500 nano-USD, but 501 spent in Redis" in differences(traffic)


def test_sums_that_do_not_add_up_are_found(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(amount_nusd=500)
    consumer.drain()
    aggregate_stale_days()

    DayRollup.objects.filter(organization=traffic.slug).update(amount_nusd=F("amount_nusd") + 1)
    assert "hours of 500 nano-USD, but a day of 501" in differences(traffic)

    HourRollup.objects.filter(organization=traffic.slug).update(amount_nusd=F("amount_nusd") - 1)
    assert "team search, key search-key01: events of 500 nano-USD, but hours of 499" in differences(traffic)


def test_a_difference_is_recorded_until_it_is_gone(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call()
    consumer.drain()
    HourRollup.objects.filter(organization=traffic.slug).update(requests=2)

    reconcile_all()
    found = Reconciliation.objects.get(organization=traffic.slug)
    reconcile_all()
    again = Reconciliation.objects.get(organization=traffic.slug)
    HourRollup.objects.filter(organization=traffic.slug).update(requests=1)
    reconcile_all()
    gone = Reconciliation.objects.get(organization=traffic.slug)

    assert "search" in found.difference
    assert found.since is not None
    assert again.since == found.since
    assert again.checked_at > found.checked_at
    assert (gone.difference, gone.since) == ("", None)
