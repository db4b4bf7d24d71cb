"""The ledger's periodic work, done twice at once as by two beats."""

from __future__ import annotations

import time

import redis

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import DayRollup, Reconciliation, UsageEvent
from control_plane.ledger.tasks import aggregate_days, reconcile, sweep_expired_holds, trim_streams
from tests.control_plane.cast import all_at_once
from tests.control_plane.ledger.traffic import Traffic, store_at


def stream_length(redis_address: str, traffic: Traffic) -> int:
    with redis.Redis.from_url(redis_address) as client:
        return int(client.xlen(f"bursar:{{{traffic.slug}}}:events"))


def test_holds_whose_lease_is_over_are_posted_in_full_and_once(
    traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
    before = Traffic(store_at(redis_address, an_hour_ago), traffic.organization)
    lost = {before.hold() for _ in range(150)}
    still_open = traffic.hold()

    all_at_once([sweep_expired_holds, sweep_expired_holds])
    consumer.drain()

    events = UsageEvent.objects.filter(organization=traffic.slug)
    assert set(events.values_list("request_id", flat=True)) == lost
    assert set(events.values_list("kind", "quality", "amount_nusd")) == {("expired", "upper_bound", 5_000)}
    assert len(events) == 150
    assert traffic.store.open_holds(traffic.slug) == 1
    traffic.void(still_open)


def test_days_are_aggregated_by_whoever_has_the_lease(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(amount_nusd=7)
    consumer.drain()

    all_at_once([aggregate_days] * 3)

    assert DayRollup.objects.get(organization=traffic.slug).amount_nusd == 7


def test_the_books_are_compared_by_whoever_has_the_lease(traffic: Traffic) -> None:
    all_at_once([reconcile] * 3)

    assert Reconciliation.objects.get(organization=traffic.slug).difference == ""


def test_a_stream_loses_only_what_was_acknowledged(traffic: Traffic, consumer: Consumer, redis_address: str) -> None:
    for _ in range(3):
        traffic.call()
    taken = traffic.store.read_events(traffic.slug, "somebody who died", most=1, block_ms=0)
    consumer.drain()
    traffic.call()

    trim_streams()

    assert stream_length(redis_address, traffic) >= 4  # the first is not acknowledged, and so nothing after it goes

    traffic.store.ack_events(traffic.slug, [entry.entry_id for entry in taken])
    trim_streams()
    assert stream_length(redis_address, traffic) <= 2
    consumer.drain()
    assert UsageEvent.objects.filter(organization=traffic.slug).count() == 3
