"""Lines: who waits for a limit or a budget gets it in turn, and nobody waits for what cannot come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from kong_plugins.llm.limits import Denied, Granted, Waiting
from kong_plugins.llm.release import Scope
from tests.llm.cast import principal
from tests.llm.store.engine import LEASE_MS, START_MS, Engine, budget, limit

QUEUE_MS = 30_000
SLOTS = limit("concurrency", 1, queue_ms=QUEUE_MS)
MONEY = budget(queue_ms=QUEUE_MS)


class Waiter:
    """A call that asks until it knows."""

    def __init__(self, engine: Engine, name: str, *, tier: str = "normal", **call: Any) -> None:
        self._engine = engine
        self.request_id = name
        self._call = call | {"principal": principal(organization=engine.organization, tier=tier)}
        self.answer: Any = None
        self.ask()

    def ask(self) -> Any:
        place = self.answer.place if isinstance(self.answer, Waiting) else None
        self.answer = self._engine.reserve(**self._call, request_id=self.request_id, may_wait=True, place=place)
        return self.answer

    @property
    def waits(self) -> bool:
        return isinstance(self.ask(), Waiting)


def admitted(*waiters: Waiter) -> list[str]:
    """Who is admitted when all of them ask, in this order."""
    return [waiter.request_id for waiter in waiters if isinstance(waiter.ask(), Granted)]


@pytest.fixture
def busy(engine: Engine) -> Engine:
    """One slot, which is taken."""
    engine.enforce(SLOTS)
    engine.hold(request_id="first")
    return engine


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


def test_waiting_ends_at_the_rules_deadline_with_a_refusal(busy: Engine) -> None:
    waiter = Waiter(busy, "second")
    for _ in range(QUEUE_MS // 2000 - 1):
        busy.pass_time(2000)
        assert waiter.waits
    busy.pass_time(2000)

    assert isinstance(waiter.ask(), Denied)
    assert busy.usage()[-1].refusing_scope == "team limit of concurrent requests"
    busy.post("first")
    assert isinstance(Waiter(busy, "third").answer, Granted), "who was refused stands in no line"


def test_nobody_waits_for_requests_that_come_back_too_late(engine: Engine) -> None:
    engine.enforce(limit("requests", 1, queue_ms=QUEUE_MS))
    engine.hold()

    assert isinstance(Waiter(engine, "early").answer, Denied)
    engine.pass_time(40_000)
    answer = Waiter(engine, "late").answer
    assert isinstance(answer, Waiting)
    assert answer.retry_ms == 1000


def test_a_call_asks_again_when_the_window_lets_it_pass(engine: Engine) -> None:
    engine.enforce(limit("requests", 1, window_ms=1000, queue_ms=QUEUE_MS))
    engine.hold()
    waiter = Waiter(engine, "second")
    assert isinstance(waiter.answer, Waiting)

    engine.pass_time(waiter.answer.retry_ms)
    again = waiter.ask()
    assert isinstance(again, Waiting)
    assert again.retry_ms < 20, "a window of a second is over after a second and a sixtieth"
    engine.pass_time(again.retry_ms)

    assert isinstance(waiter.ask(), Granted)


def test_nobody_waits_for_more_than_a_limit_ever_admits(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100, queue_ms=QUEUE_MS))

    denied = Waiter(engine, "huge", tokens=101).answer

    assert isinstance(denied, Denied)
    assert denied.retry_after_ms is None


def test_a_call_waits_for_money_that_others_hold(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 150)
    first = engine.hold()
    waiter = Waiter(engine, "second")
    assert isinstance(waiter.answer, Waiting)

    engine.post(first, amount_nusd=40)

    assert isinstance(waiter.ask(), Granted)
    assert engine.state(MONEY) == (40, 100)
    assert [event.percent for event in engine.thresholds()] == []


def test_nobody_waits_for_money_that_is_spent(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 150)
    first, waiter = engine.hold(), Waiter(engine, "second")

    engine.post(first, amount_nusd=100)

    assert isinstance(waiter.ask(), Denied)
    assert isinstance(Waiter(engine, "third").answer, Denied)
    assert [event.percent for event in engine.thresholds()] == [50, 100]


def test_a_raised_cap_is_as_good_as_a_release(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 150)
    engine.hold()
    waiter = Waiter(engine, "second")

    engine.set_cap(MONEY, 200, version=2)

    assert isinstance(waiter.ask(), Granted)


def test_a_call_waits_for_the_next_period_if_that_begins_in_time(engine: Engine) -> None:
    daily = budget(period="day", queue_ms=QUEUE_MS)
    engine.enforce(daily)
    midnight_ms = START_MS + 12 * 3_600_000
    for at_ms in (START_MS, midnight_ms):
        engine.set_cap(daily, 100, period_name=engine.period_name(daily, at_ms))
    engine.post(engine.hold())
    assert isinstance(Waiter(engine, "at-noon").answer, Denied)

    engine.go_to(midnight_ms - 5000)
    waiter = Waiter(engine, "late")
    assert isinstance(waiter.answer, Waiting)
    engine.go_to(midnight_ms)
    assert isinstance(waiter.ask(), Granted)


def test_what_cannot_be_waited_for_refuses_although_another_rule_has_a_line(busy: Engine) -> None:
    busy.enforce(SLOTS, limit("requests", 1, id="hard", window_ms=3_600_000))
    busy.post("first")
    busy.hold(request_id="again")

    denied = Waiter(busy, "third").answer

    assert isinstance(denied, Denied)
    assert denied.check.id == "hard"


def test_a_call_that_waits_for_one_thing_does_not_hold_up_another(engine: Engine) -> None:
    of_team = limit("concurrency", 2, id="team", queue_ms=QUEUE_MS)
    of_key = limit("concurrency", 1, id="key", queue_ms=QUEUE_MS, scope=Scope(kind="key", subject=None))
    engine.enforce(of_team, of_key)
    engine.hold(request_id="first")
    other_key = principal(organization=engine.organization, key="OTHERKEY0001")
    engine.hold(request_id="of-the-other-key", principal=other_key)
    waiter = Waiter(engine, "second")
    engine.post("of-the-other-key")

    assert isinstance(engine.reserve(principal=other_key), Denied), "the waiter was there first"
    assert waiter.waits
    assert isinstance(engine.reserve(principal=other_key), Granted), "it waits for its key's slot alone"


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


def test_a_clock_that_is_set_back_changes_no_order(busy: Engine, client: redis.Redis) -> None:
    second = Waiter(busy, "second")
    busy.go_to(START_MS - 10_000)
    third = Waiter(busy, "third")
    busy.post("first")

    assert admitted(third, second) == ["second"]
