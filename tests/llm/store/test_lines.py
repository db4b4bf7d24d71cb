"""Lines: who waits for a limit or a budget gets it in turn, and those who have gone hold up nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from kong_plugins.llm.limits import Denied, Granted, Waiting
from kong_plugins.llm.release import Scope
from tests.llm.cast import principal
from tests.llm.store.engine import LEASE_MS, START_MS, Engine, limit
from tests.llm.store.waiter import MONEY, QUEUE_MS, SLOTS, Waiter, admitted


def test_a_call_waits_for_a_slot_and_gets_it_when_it_is_free(busy: Engine) -> None:
    waiter = Waiter(busy, "second")
    assert isinstance(waiter.answer, Waiting)
    assert (waiter.answer.check.scope_name, waiter.answer.retry_ms) == ("team limit of concurrent requests", 1000)

    busy.post("first")

    assert isinstance(waiter.ask(), Granted)
    assert [event.kind for event in busy.usage()] == ["posted"]


def test_a_call_that_may_not_wait_is_refused_as_ever(busy: Engine) -> None:
    assert isinstance(busy.reserve(), Denied)


def test_nobody_overtakes_those_who_wait(busy: Engine) -> None:
    second, third = Waiter(busy, "second"), Waiter(busy, "third")
    busy.post("first")

    newcomer = Waiter(busy, "newcomer")

    assert admitted(newcomer, third, second) == ["second"]
    busy.post("second")
    assert admitted(newcomer, third) == ["third"]
    busy.post("third")
    assert admitted(newcomer) == ["newcomer"]


def test_a_small_call_does_not_overtake_a_large_one_that_waits_for_more(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100, queue_ms=QUEUE_MS))
    engine.hold(tokens=50)
    large = Waiter(engine, "large", tokens=80)

    small = Waiter(engine, "small", tokens=10)
    assert small.waits
    engine.pass_time(61_000)
    assert admitted(large, small) == ["large", "small"]


def test_a_higher_tier_goes_first_and_age_counts_within_a_tier(busy: Engine) -> None:
    tiers = {"experiment": "experimental", "normal": "normal", "critical": "critical", "later": "normal"}
    waiting = {name: Waiter(busy, name, tier=tier) for name, tier in tiers.items()}
    busy.post("first")

    order: list[str] = []
    while waiting:
        [name] = admitted(*waiting.values())
        busy.post(name)
        del waiting[name]
        order.append(name)

    assert order == ["critical", "normal", "later", "experiment"]


def test_those_who_may_not_wait_do_not_overtake_either(busy: Engine) -> None:
    waiter = Waiter(busy, "second")
    busy.post("first")

    refused = busy.reserve()

    assert isinstance(refused, Denied)
    assert refused.retry_after_ms == 1000
    assert isinstance(waiter.ask(), Granted)


def test_a_call_that_leaves_lets_the_next_one_pass(busy: Engine) -> None:
    Waiter(busy, "second")
    third = Waiter(busy, "third")
    busy.post("first")
    assert third.waits

    busy.store.leave(busy.organization, "second")

    assert isinstance(third.ask(), Granted)


def test_a_call_that_has_not_heard_its_place_leaves_nothing_of_itself_in_the_line(busy: Engine) -> None:
    Waiter(busy, "second")
    busy.post("first")

    again = Waiter(busy, "second")

    assert isinstance(again.answer, Granted)
    busy.post("second")
    assert isinstance(Waiter(busy, "third").answer, Granted)


def test_a_call_that_gives_no_sign_of_life_holds_up_nobody(busy: Engine) -> None:
    second, third = Waiter(busy, "second"), Waiter(busy, "third")
    busy.pass_time(2000)
    assert third.waits
    busy.post("first")
    busy.pass_time(999)
    assert third.waits
    busy.pass_time(1)

    assert isinstance(third.ask(), Granted)
    busy.post("third")
    assert isinstance(second.ask(), Granted), "it was only slow"


def test_a_place_is_kept_while_it_is_used(busy: Engine) -> None:
    second, third = Waiter(busy, "second"), Waiter(busy, "third")
    for _ in range(10):
        busy.pass_time(2500)
        assert admitted(third, second) == []
    busy.post("first")

    assert admitted(third, second) == ["second"]


def test_a_call_that_waits_for_its_keys_turn_holds_up_no_other_key(engine: Engine) -> None:
    of_team = limit("tokens", 100, id="team", queue_ms=QUEUE_MS)
    of_key = limit("concurrency", 1, id="key", queue_ms=QUEUE_MS, scope=Scope(kind="key", subject=None))
    engine.enforce(of_team, of_key)
    engine.hold(request_id="first", tokens=20)
    other_key = principal(organization=engine.organization, key="OTHERKEY0001")
    large = Waiter(engine, "large", tokens=95)
    assert isinstance(large.answer, Waiting)
    assert large.answer.check.id == "key"
    assert isinstance(engine.reserve(principal=other_key, request_id="small"), Granted)

    engine.post("first", tokens=0)

    assert isinstance(large.ask(), Waiting)
    assert large.answer.check.id == "team", "its key's turn has come"
    engine.post("small")
    assert isinstance(engine.reserve(principal=other_key), Denied), "for the team's tokens it was there first"


def test_a_call_that_is_now_to_go_elsewhere_holds_up_nobody_where_it_stood(engine: Engine) -> None:
    engine.enforce(
        *(
            limit("concurrency", 1, id=name, queue_ms=QUEUE_MS, scope=Scope(kind="team", subject=None, provider=name))
            for name in ("here", "there")
        )
    )
    engine.hold(request_id="first", provider="here")
    engine.hold(provider="there")
    asked: dict[str, Any] = {"may_wait": True, "request_id": "second"}
    waits = engine.reserve(**asked, provider="here")
    assert isinstance(waits, Waiting)
    assert isinstance(engine.reserve(**asked, place=waits.place, provider="there"), Waiting)
    engine.post("first")

    assert isinstance(engine.reserve(provider="here"), Granted)


def test_a_probe_says_that_it_would_wait_and_stands_in_no_line(busy: Engine) -> None:
    asked = busy.reserve(may_wait=True, probe=True)

    assert isinstance(asked, Waiting)
    assert busy.redis.exists(f"bursar:{{{busy.organization}}}:waiting") == 0


def test_a_candidate_that_is_not_the_last_is_passed_over_without_a_trace(busy: Engine) -> None:
    passed_over = busy.reserve(may_wait=True, is_last=False)

    assert isinstance(passed_over, Denied)
    assert busy.usage() == []
    assert busy.redis.exists(f"bursar:{{{busy.organization}}}:waiting") == 0


def let_a_lease_end(engine: Engine) -> None:
    engine.pass_time(LEASE_MS)
    engine.store.expire_due(engine.organization)


WAYS: dict[str, Callable[[Engine], object]] = {
    "post": lambda engine: engine.post("first"),
    "void": lambda engine: engine.void("first"),
    "expire": let_a_lease_end,
    "leave": lambda engine: engine.store.leave(engine.organization, "second"),
    "cap": lambda engine: engine.set_cap(MONEY, 2000, version=2),
}


@pytest.mark.parametrize("way", WAYS)
def test_those_who_wait_are_told_when_something_is_free(engine: Engine, way: str) -> None:
    engine.enforce(SLOTS, MONEY)
    engine.set_cap(MONEY, 1000)
    engine.hold(request_id="first")
    Waiter(engine, "second")
    Waiter(engine, "third")
    ear = engine.redis.pubsub(ignore_subscribe_messages=True)
    ear.subscribe(f"bursar:{{{engine.organization}}}:freed")
    ear.get_message(timeout=5)

    WAYS[way](engine)

    assert ear.get_message(timeout=5) is not None
    ear.close()


def test_the_next_one_is_told_when_one_is_admitted(busy: Engine) -> None:
    second = Waiter(busy, "second")
    Waiter(busy, "third")
    busy.post("first")
    ear = busy.redis.pubsub(ignore_subscribe_messages=True)
    ear.subscribe(f"bursar:{{{busy.organization}}}:freed")
    ear.get_message(timeout=5)

    second.ask()

    assert ear.get_message(timeout=5) is not None
    ear.close()


def test_nothing_of_a_line_is_kept_when_all_have_gone(busy: Engine) -> None:
    second, third = Waiter(busy, "second"), Waiter(busy, "third")
    names = [name.decode() for name in busy.redis.scan_iter(f"bursar:{{{busy.organization}}}:waiting*")]
    assert len(names) == 3
    assert all(0 < busy.redis.pttl(name) <= 60_000 for name in names), (
        "also a gateway that dies leaves nothing for long"
    )
    busy.post("first")
    assert admitted(second) == ["second"]
    busy.store.leave(busy.organization, third.request_id)

    assert list(busy.redis.scan_iter(f"bursar:{{{busy.organization}}}:waiting*")) == []


def test_those_who_have_gone_are_forgotten_by_the_next_who_comes(busy: Engine) -> None:
    for number in range(20):
        Waiter(busy, f"gone-{number}")
    busy.pass_time(3000)

    Waiter(busy, "second")

    assert busy.redis.zcard(f"bursar:{{{busy.organization}}}:waiting") == 1
    assert busy.redis.hlen(f"bursar:{{{busy.organization}}}:waiting_lines") == 1


def test_a_clock_that_is_set_back_changes_no_order(busy: Engine, client: redis.Redis) -> None:
    second = Waiter(busy, "second")
    busy.go_to(START_MS - 10_000)
    third = Waiter(busy, "third")
    busy.post("first")

    assert admitted(third, second) == ["second"]
