"""From the stream into the ledger: every event once, whatever happens on the way."""

from __future__ import annotations

import random
import string
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import redis
from django.db import IntegrityError, connection
from django.db.models import Sum

from control_plane.ledger import ingest
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import DeadLetter, HourRollup, UsageEvent
from control_plane.ledger.reconciliation import first_difference
from kong_plugins.llm.store import Store
from tests.control_plane.cast import all_at_once
from tests.control_plane.ledger.traffic import Traffic, store_at


def events_of(traffic: Traffic) -> list[UsageEvent]:
    return list(UsageEvent.objects.filter(organization=traffic.slug).order_by("id"))


def sums(traffic: Traffic) -> dict[str, Any]:
    rows = HourRollup.objects.filter(organization=traffic.slug)
    return rows.aggregate(amount=Sum("amount_nusd"), requests=Sum("requests"), unpriced=Sum("unpriced"))


def replay_stream(redis_address: str, traffic: Traffic) -> None:
    """Have the whole stream delivered again, to whoever reads next."""
    with redis.Redis.from_url(redis_address) as client:
        client.xgroup_setid(f"bursar:{{{traffic.slug}}}:events", "ledger", "0")


def append(redis_address: str, traffic: Traffic, event_type: str, data: bytes) -> None:
    """An entry that no gateway of ours would write."""
    with redis.Redis.from_url(redis_address) as client:
        client.xadd(f"bursar:{{{traffic.slug}}}:events", {"type": event_type, "data": data})


def test_a_call_is_in_the_ledger_as_it_was_posted(traffic: Traffic, consumer: Consumer) -> None:
    request_id = traffic.call(amount_nusd=123_456_789_012_345, user="alice", input_tokens=70, output_tokens=30)

    consumer.drain()

    [event] = events_of(traffic)
    assert (event.event_id, event.request_id, event.kind) == (f"{request_id}:1", request_id, "posted")
    assert (event.team, event.key, event.user, event.request_model) == ("search", "search-key01", "alice", "mini")
    assert (event.amount_nusd, event.hold_nusd) == (123_456_789_012_345, 5_000)
    assert (event.input_tokens, event.output_tokens, event.quality) == (70, 30, "exact")
    assert event.region == ""
    assert abs(datetime.now(UTC) - event.reserved_at).total_seconds() < 60
    assert event.reserved_at <= event.posted_at


def test_every_kind_of_event_adds_to_its_own_sum(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(amount_nusd=700)
    traffic.call(amount_nusd=None)
    traffic.void(traffic.hold())

    consumer.drain()

    by_kind = HourRollup.objects.filter(organization=traffic.slug).values_list(
        "kind", "requests", "unpriced", "amount_nusd"
    )
    assert sorted(by_kind) == [("posted", 2, 1, 700), ("voided", 1, 0, 0)]
    assert first_difference(traffic.organization) is None


def test_a_late_truth_adds_its_difference_and_no_request(
    traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    an_hour_ago = int(datetime.now(UTC).timestamp() * 1000) - 3_600_000
    request_id = Traffic(store_at(redis_address, an_hour_ago), traffic.organization).hold()
    assert traffic.store.expire_due(traffic.slug) == 1
    assert traffic.post(request_id, amount_nusd=1_200) == "adjusted"

    consumer.drain()

    expired, adjusted = events_of(traffic)
    assert (expired.kind, expired.quality, expired.amount_nusd) == ("expired", "upper_bound", 5_000)
    assert (adjusted.kind, adjusted.amount_nusd, adjusted.reserved_at) == ("adjusted", -3_800, expired.reserved_at)
    assert sums(traffic) == {"amount": 1_200, "requests": 1, "unpriced": 0}


def test_a_batch_that_was_recorded_but_not_acknowledged_adds_nothing_again(
    traffic: Traffic, consumer: Consumer
) -> None:
    for _ in range(5):
        traffic.call()
    entries = traffic.store.read_events(traffic.slug, "the test's own", most=100, block_ms=0)
    ingest.record(traffic.slug, entries)  # and here the process dies

    consumer.drain()

    assert len(events_of(traffic)) == 5
    assert sums(traffic) == {"amount": 5_000, "requests": 5, "unpriced": 0}


def test_replaying_the_whole_stream_changes_nothing(traffic: Traffic, consumer: Consumer, redis_address: str) -> None:
    for number in range(20):
        traffic.call(amount_nusd=number, key=f"key-{number % 3}")
    consumer.drain()
    before = sums(traffic)

    replay_stream(redis_address, traffic)
    consumer.drain()

    assert len(events_of(traffic)) == 20
    assert sums(traffic) == before


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_truth_that_comes_when_its_hold_is_long_forgotten_is_not_recorded_twice(
    traffic: Traffic, consumer: Consumer, redis_address: str, in_one_batch: bool
) -> None:
    request_id = traffic.call(amount_nusd=900)
    if not in_one_batch:
        consumer.drain()
    with redis.Redis.from_url(redis_address) as client:
        client.delete(f"bursar:{{{traffic.slug}}}:hold:{request_id}")

    assert traffic.post(request_id, amount_nusd=901) == "orphan"
    consumer.drain()

    assert len(events_of(traffic)) == 1
    assert sums(traffic)["amount"] == 900


def test_two_consumers_at_once_record_every_event_once(traffic: Traffic, redis_address: str) -> None:
    for number in range(600):
        traffic.call(amount_nusd=number, team=f"team-{number % 4}", key=f"key-{number % 7}")

    def read(name: str) -> None:
        store = Store.from_url(redis_address, timeout_ms=5_000)
        Consumer(store, name).drain()
        store.close()

    all_at_once([partial(read, "one"), partial(read, "another")])

    assert len(events_of(traffic)) == 600
    assert sums(traffic) == {"amount": sum(range(600)), "requests": 600, "unpriced": 0}
    assert first_difference(traffic.organization) is None


def test_consumers_that_record_the_same_events_at_once_record_them_once(traffic: Traffic) -> None:
    for number in range(100):
        traffic.call(amount_nusd=number)
    entries = traffic.store.read_events(traffic.slug, "one of them", most=100, block_ms=0)

    all_at_once([partial(ingest.record, traffic.slug, entries[::order]) for order in (1, -1, 1, -1)])

    assert sums(traffic) == {"amount": sum(range(100)), "requests": 100, "unpriced": 0}


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("usage", b"{ not JSON"),
        ("usage", b'{"id": "without the rest"}'),
        ("gossip", b"{}"),
        ("usage", b"\xff\x00"),
    ],
)
def test_what_cannot_be_read_becomes_a_dead_letter_and_others_flow(
    traffic: Traffic, consumer: Consumer, redis_address: str, event_type: str, data: bytes
) -> None:
    traffic.call()
    append(redis_address, traffic, event_type, data)
    traffic.call()

    consumer.drain()

    assert len(events_of(traffic)) == 2
    [letter] = DeadLetter.objects.filter(organization=traffic.slug)
    assert bytes(letter.payload) == data
    assert (letter.type, letter.deliveries) == (event_type, ingest.MOST_DELIVERIES)
    assert letter.reason
    assert traffic.store.read_events(traffic.slug, "the test's own", most=10, block_ms=0) == []


def test_what_postgres_refuses_becomes_a_dead_letter_and_others_flow(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call()
    traffic.call(http_status=2**40)
    traffic.call()

    consumer.drain()

    assert len(events_of(traffic)) == 2
    assert "out of range" in DeadLetter.objects.get(organization=traffic.slug).reason


def test_an_event_of_another_organization_is_not_believed(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(organization="somebody-else")

    consumer.drain()

    assert not UsageEvent.objects.filter(organization="somebody-else").exists()
    assert DeadLetter.objects.filter(organization=traffic.slug).count() == 1


def test_labels_that_callers_choose_cannot_break_the_ledger(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(user="nul\0and more")
    # Text that no compression makes shorter, beside as many tags as a key can have.
    chance = random.Random(1)
    hard = "".join(chr(chance.randrange(0x10000, 0x10FFFF)) for _ in range(5_000))
    tags = ["".join(chance.choices(string.ascii_letters, k=64)) for _ in range(16)]
    traffic.call(user=hard, request_model=hard[::-1], tags=tags)

    consumer.drain()

    first, second = events_of(traffic)
    assert first.user == "nul\N{REPLACEMENT CHARACTER}and more"
    assert second.user == hard[:150]
    assert sums(traffic)["requests"] == 2


@pytest.mark.parametrize("statement", ["UPDATE ledger_usageevent SET amount_nusd = 0", "DELETE FROM ledger_usageevent"])
def test_the_database_refuses_to_change_a_row(traffic: Traffic, consumer: Consumer, statement: str) -> None:
    traffic.call()
    consumer.drain()

    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)

    assert events_of(traffic)[0].amount_nusd == 1_000


def partitions_of(traffic: Traffic) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM ledger_usageevent WHERE organization = %s", [traffic.slug])
        return {name for (name,) in cursor.fetchall()}


def test_rows_lie_in_the_partition_of_their_month(traffic: Traffic, consumer: Consumer, redis_address: str) -> None:
    now = datetime.now(UTC)
    month_before = now.replace(day=1) - timedelta(days=1)
    traffic.call()
    Traffic(store_at(redis_address, int(month_before.timestamp() * 1000)), traffic.organization).call()

    consumer.drain()

    assert partitions_of(traffic) == {f"ledger_usageevent_{month:%Y_%m}" for month in (now, month_before)}


def test_an_event_with_a_broken_clock_is_recorded_and_makes_no_partition(
    traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    Traffic(store_at(redis_address, 1_000_000_000_000), traffic.organization).call()

    consumer.drain()

    assert partitions_of(traffic) == {"ledger_usageevent_default"}
