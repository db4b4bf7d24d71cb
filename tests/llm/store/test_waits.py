"""What is worth waiting for, and for how long: nobody waits for what cannot come."""

from __future__ import annotations

from typing import Any

from kong_plugins.llm.limits import Denied, Granted, Waiting
from tests.llm.store.engine import START_MS, Engine, budget, limit
from tests.llm.store.waiter import MONEY, QUEUE_MS, SLOTS, Waiter


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


def test_a_clock_that_is_set_back_makes_no_wait_longer(busy: Engine) -> None:
    Waiter(busy, "second")
    busy.go_to(START_MS - 600_000)
    third = busy.reserve(may_wait=True, request_id="third")
    assert isinstance(third, Waiting)

    late = busy.reserve(may_wait=True, request_id="third", place=third.place, waited_ms=QUEUE_MS)

    assert isinstance(late, Denied)


def test_a_caller_with_less_patience_than_the_rule_waits_no_longer_than_that(busy: Engine) -> None:
    asked: dict[str, Any] = {"may_wait": True, "request_id": "second", "patience_ms": 2000}
    first = busy.reserve(**asked)
    assert isinstance(first, Waiting)

    assert isinstance(busy.reserve(**asked, place=first.place, waited_ms=1999), Waiting)
    assert isinstance(busy.reserve(**asked, place=first.place, waited_ms=2000), Denied)


def test_nobody_waits_in_vain_for_requests_that_come_back_after_its_patience(engine: Engine) -> None:
    engine.enforce(limit("requests", 1, window_ms=10_000, queue_ms=QUEUE_MS))
    engine.hold()

    assert isinstance(engine.reserve(may_wait=True, patience_ms=2500), Denied)
    assert isinstance(engine.reserve(may_wait=True, patience_ms=20_000), Waiting)


def test_who_may_not_wait_for_money_that_others_wait_for_is_told_to_try_again(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 150)
    first = engine.hold()
    Waiter(engine, "second")
    engine.post(first, amount_nusd=0)

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert (refused.check.id, refused.retry_after_ms) == (MONEY.id, 1000)
