"""What the control plane writes and gateways read, and what a Redis that is full, restarted or away does to it."""

from __future__ import annotations

import msgspec
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kong_plugins.llm.connection import Connection
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.limits import Granted
from kong_plugins.llm.release import content_checksum
from kong_plugins.llm.store import Store
from tests.llm.cast import policy
from tests.llm.proxy import LossyProxy
from tests.llm.store.conftest import OwnValkey
from tests.llm.store.engine import SETTABLE_CLOCK, Engine, budget, limit

RECORD = KeyRecord(
    id="ABCDEFGHIJKL",
    version=2,
    digest="0" * 64,
    organization="acme",
    team="search",
    name="search-prod",
    tier="normal",
    active=True,
)


def test_a_key_is_replaced_only_by_a_newer_version(store: Store, organization: str) -> None:
    record = msgspec.structs.replace(RECORD, id=f"K{organization[-11:]}")
    revoked = msgspec.structs.replace(record, version=3, active=False)

    assert store.put_key(record)
    assert store.put_key(revoked)
    assert not store.put_key(record)
    assert store.put_key(revoked)

    assert store.get_key(record.id) == revoked
    assert store.get_key("unknown") is None


def test_a_policy_is_replaced_only_by_a_higher_number(store: Store, organization: str) -> None:
    first = policy(organization=organization, number=1)
    second = policy(organization=organization, number=2, created_by="bob")

    assert store.get_policy(organization) is None
    assert store.publish_policy(first)
    assert store.publish_policy(second)
    assert store.publish_policy(second)
    assert not store.publish_policy(first)
    assert not store.publish_policy(policy(organization=organization, number=2, time_zone="Asia/Tokyo"))

    known = store.get_policy(organization)
    assert known == msgspec.structs.replace(second, checksum=content_checksum(second))
    assert organization in store.organizations()


def test_a_cap_is_replaced_only_by_a_newer_version(engine: Engine) -> None:
    rule = budget()
    assert engine.set_cap(rule, 100, version=5)
    assert engine.set_cap(rule, 100, version=5)
    assert not engine.set_cap(rule, 900, version=4)

    state = engine.store.budget_state(engine.organization, rule.id, "search", engine.period_name(rule))
    assert state is not None
    assert (state.cap, state.spent, state.held) == (100, 0, 0)
    assert engine.store.budget_state(engine.organization, rule.id, "other", "month-2026-03-01") is None


def test_events_come_again_until_they_are_acknowledged(engine: Engine) -> None:
    engine.enforce()
    ids = [engine.hold() for _ in range(3)]
    for request_id in ids:
        engine.post(request_id)
    store, organization = engine.store, engine.organization

    first = store.read_events(organization, "one", most=2, block_ms=1)
    again = store.read_events(organization, "one", most=2, block_ms=1)
    assert [entry.entry_id for entry in again] == [entry.entry_id for entry in first]
    assert [entry.deliveries for entry in first + again] == [1, 1, 2, 2]

    store.ack_events(organization, [entry.entry_id for entry in again])
    rest = store.read_events(organization, "one", most=2, block_ms=1)
    store.ack_events(organization, [entry.entry_id for entry in rest])
    assert store.read_events(organization, "one", most=2, block_ms=1) == []
    read = [msgspec.json.decode(entry.data)["request_id"] for entry in again + rest]
    assert read == ids


def test_two_consumers_share_the_events(engine: Engine) -> None:
    engine.enforce()
    for _ in range(4):
        engine.post(engine.hold())

    one = engine.store.read_events(engine.organization, "one", most=2, block_ms=1)
    two = engine.store.read_events(engine.organization, "two", most=9, block_ms=1)

    assert len({entry.entry_id for entry in one + two}) == 4


def test_a_consumer_takes_over_what_another_has_left_lying(engine: Engine) -> None:
    engine.enforce()
    engine.post(engine.hold())
    [left] = engine.store.read_events(engine.organization, "one", most=9, block_ms=1)
    stream = f"bursar:{{{engine.organization}}}:events"
    assert engine.store.read_events(engine.organization, "two", most=9, block_ms=1) == []
    engine.redis.xclaim(stream, "ledger", "one", 0, [left.entry_id], idle=61_000, justid=True)

    [taken] = engine.store.read_events(engine.organization, "two", most=9, block_ms=1)

    assert (taken.entry_id, taken.deliveries) == (left.entry_id, 2)


def test_only_what_every_consumer_has_acknowledged_is_trimmed(engine: Engine) -> None:
    engine.enforce()
    assert engine.store.trim_events(engine.organization) == 0
    for _ in range(4):
        engine.post(engine.hold())
    one = engine.store.read_events(engine.organization, "one", most=2, block_ms=1)
    two = engine.store.read_events(engine.organization, "two", most=1, block_ms=1)
    engine.store.ack_events(engine.organization, [one[0].entry_id, two[0].entry_id])

    assert engine.store.trim_events(engine.organization) == 1
    assert len(engine.usage()) == 3


def test_a_full_redis_admits_nothing_and_still_counts_what_was_used(own_valkey: OwnValkey) -> None:
    engine = Engine(own_valkey.client, "acme", settable_clock=False)
    rule = budget("nusd", "total")
    engine.enforce(rule, limit("requests", 100))
    engine.set_cap(rule, 1000)
    request_id = engine.hold()
    engine.hold(lease_ms=1)
    own_valkey.client.config_set("maxmemory", "1mb")

    with pytest.raises(StoreUnavailable, match="maxmemory"):
        engine.reserve()

    assert engine.post(request_id, amount_nusd=70) == "posted"
    assert engine.store.expire_due("acme") == 1
    assert engine.state(rule) == (170, 0)
    assert engine.set_cap(rule, 500, version=2)


def test_a_redis_that_was_killed_knows_what_it_had_answered(own_valkey: OwnValkey) -> None:
    engine = Engine(own_valkey.client, "acme", settable_clock=False)
    rule = budget("nusd", "total")
    engine.enforce(rule, limit("tokens", 1000, window_ms=3_600_000), limit("concurrency", 10))
    engine.set_cap(rule, 10_000)
    ids = [engine.hold() for _ in range(6)]
    for request_id in ids[:4]:
        engine.post(request_id, amount_nusd=60, tokens=5)
    reservation = engine.reservation()
    held = engine.store.reserve(reservation)
    events = engine.events()

    own_valkey.kill()
    with pytest.raises(StoreUnavailable):
        engine.reserve()
    own_valkey.start()

    assert engine.state(rule) == (240, 300)
    assert engine.events() == events
    assert engine.store.reserve(reservation) == held
    answer = engine.reserve()
    assert isinstance(answer, Granted)
    assert [state.remaining for state in answer.limits] == [1000 - 20 - 40, 6]
    assert engine.post(ids[4]) == "posted"
    assert engine.post(ids[0]) == "duplicate"


def test_an_emptied_redis_admits_nothing(own_valkey: OwnValkey) -> None:
    engine = Engine(own_valkey.client, "acme", settable_clock=False)
    engine.enforce()
    engine.hold()
    own_valkey.client.flushall()

    answer = engine.reserve()

    assert not isinstance(answer, Granted)


def test_a_redis_without_our_scripts_is_given_them(own_valkey: OwnValkey) -> None:
    engine = Engine(own_valkey.client, "acme", settable_clock=False)
    engine.enforce()
    request_id = engine.hold()
    own_valkey.client.script_flush()

    assert engine.post(request_id) == "posted"
    engine.hold()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_call_whose_answer_was_lost_counts_once(redis_address: str, engine: Engine, lost: int) -> None:
    rule = budget()
    engine.enforce(rule)
    engine.set_cap(rule, 1000)
    with LossyProxy(redis_address) as proxy:
        client = redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0))
        far = Store(Connection(client, clock=SETTABLE_CLOCK))
        reservation = engine.reservation()
        far.ping()

        proxy.answers_to_lose = lost
        if lost == 1:
            assert isinstance(far.reserve(reservation), Granted)
        else:
            with pytest.raises(StoreUnavailable):
                far.reserve(reservation)
        assert engine.state(rule) == (0, 100)
        far.ping()

        proxy.answers_to_lose = 1
        far.post(engine.organization, reservation.request_id, amount_nusd=70, tokens=1, event_fields=b"{}")
        assert engine.state(rule) == (70, 0)
        client.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://192.0.2.1:6379/0"])
def test_a_redis_that_is_away_is_said_to_be(url: str) -> None:
    store = Store.from_url(url, timeout_ms=50)
    for ask in (store.ping, store.organizations, lambda: store.get_key("K"), lambda: store.expire_due("acme")):
        with pytest.raises(StoreUnavailable):
            ask()
    store.close()
