"""Caps in force: extended for a time, given to each subject by itself, and the point from which calls degrade."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Denied, Granted, Unready
from kong_plugins.llm.release import Scope
from tests.llm.cast import principal
from tests.llm.store.engine import LEASE_MS, START_MS, ZONE, Engine, budget

MONEY = budget()
EACH_USER = budget(id="each-user", scope=Scope(kind="user", subject=None), each_cap=250)


def user(engine: Engine, name: str) -> Principal:
    return principal(organization=engine.organization, user=name, speaks_for_users=True)


def admitted(engine: Engine, attempts: int, **call: Any) -> int:
    return sum(isinstance(engine.reserve(**call), Granted) for _ in range(attempts))


def cap_in_force(engine: Engine) -> int:
    state = engine.store.budget_state(engine.organization, MONEY.id, "search", engine.period_name(MONEY))
    assert state is not None
    return state.cap


def test_an_extension_counts_until_its_instant_by_redis_clock(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 200, extensions=((300, START_MS + 60_000), (100, START_MS + 120_000)))
    assert cap_in_force(engine) == 600
    assert admitted(engine, 9) == 6

    engine.pass_time(59_999)
    assert cap_in_force(engine) == 600
    engine.pass_time(1)
    assert cap_in_force(engine) == 300
    engine.pass_time(60_000)
    assert cap_in_force(engine) == 200


def test_an_extension_that_has_ended_touches_nothing_in_flight(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 100, extensions=((100, START_MS + 1000),))
    held = [engine.hold(), engine.hold()]
    engine.pass_time(1000)

    assert isinstance(engine.reserve(), Denied)
    assert [engine.post(each) for each in held] == ["posted", "posted"]
    assert engine.state(MONEY) == (200, 0)


def test_a_new_version_of_the_cap_brings_its_own_extensions(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 100, extensions=((100, START_MS + 1000),))

    engine.set_cap(MONEY, 100, version=2)

    assert cap_in_force(engine) == 100


def test_thresholds_are_of_the_extended_cap(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 100, extensions=((300, START_MS + 60_000),))

    engine.post(engine.hold())
    assert engine.thresholds() == []
    engine.post(engine.hold())

    assert [(event.percent, event.cap, event.spent) for event in engine.thresholds()] == [(50, 400, 200)]


def test_each_user_has_the_cap_of_each_from_its_first_call_on(engine: Engine) -> None:
    engine.enforce(EACH_USER)

    assert admitted(engine, 9, principal=user(engine, "alice")) == 2
    assert admitted(engine, 9, principal=user(engine, "bob")) == 2
    assert admitted(engine, 1) == 1, "a call that names no user falls under no user's budget"


def test_what_each_user_has_spent_is_counted_and_reported_as_of_any_budget(engine: Engine) -> None:
    engine.enforce(EACH_USER)
    request_id = engine.hold(principal=user(engine, "alice"))

    engine.post(request_id, amount_nusd=130)

    assert engine.state(EACH_USER, subject="alice") == (130, 0)
    [crossed] = engine.thresholds()
    assert (crossed.budget, crossed.subject, crossed.percent, crossed.cap) == ("each-user", "alice", 50, 250)
    assert crossed.period == engine.period_name(EACH_USER)


def test_the_first_refusal_of_a_user_reports_the_whole_budget_though_nothing_was_ever_held(engine: Engine) -> None:
    engine.enforce(EACH_USER)

    assert isinstance(engine.reserve(principal=user(engine, "alice"), cost_nusd=300), Denied)

    [crossed] = engine.thresholds()
    assert (crossed.subject, crossed.percent, crossed.cap, crossed.spent) == ("alice", 100, 250, 0)


def test_what_costs_nothing_is_no_matter_of_money_also_when_a_budget_is_overdrawn(engine: Engine) -> None:
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 100)
    engine.hold()
    assert admitted(engine, 1, cost_nusd=0) == 1
    engine.set_cap(MONEY, 50, version=2)

    assert admitted(engine, 1, cost_nusd=0) == 1
    assert admitted(engine, 1, cost_nusd=1) == 0


def test_a_cap_that_is_set_for_one_user_goes_before_that_of_each(engine: Engine) -> None:
    engine.enforce(EACH_USER)
    engine.set_cap(EACH_USER, 400, subject="alice")

    assert admitted(engine, 9, principal=user(engine, "alice")) == 4
    assert admitted(engine, 9, principal=user(engine, "bob")) == 2


def test_a_cap_of_each_that_is_changed_counts_on_the_next_request(engine: Engine) -> None:
    engine.enforce(EACH_USER)
    assert admitted(engine, 9, principal=user(engine, "alice")) == 2

    engine.enforce(budget(id="each-user", scope=EACH_USER.scope, each_cap=500))

    assert admitted(engine, 9, principal=user(engine, "alice")) == 3


def test_a_cap_of_each_that_is_nothing_admits_nothing(engine: Engine) -> None:
    engine.enforce(budget(id="each-user", scope=EACH_USER.scope, each_cap=0))

    assert isinstance(engine.reserve(principal=user(engine, "alice")), Denied)


def test_without_a_cap_of_each_an_unknown_user_is_refused(engine: Engine) -> None:
    engine.enforce(budget(id="each-user", scope=EACH_USER.scope))

    assert engine.reserve(principal=user(engine, "alice")) == Unready(reason="no_period")


def test_the_period_of_a_user_is_forgotten_when_no_truth_can_come_any_more(engine: Engine) -> None:
    engine.enforce(EACH_USER)
    engine.hold(principal=user(engine, "alice"))
    [name] = engine.redis.keys(f"bursar:{{{engine.organization}}}:budget:each-user:alice:*")

    month_end_ms = int(datetime(2026, 4, 1, tzinfo=ZoneInfo(ZONE)).timestamp()) * 1000
    kept_ms = month_end_ms - START_MS + 8 * 86_400_000
    assert kept_ms - 60_000 < engine.redis.pttl(name) <= kept_ms


@pytest.mark.parametrize(("spent", "passes_over"), [(799, False), (800, True)])
def test_from_its_percentage_on_a_budget_passes_over_what_is_not_the_last_candidate(
    engine: Engine, spent: int, *, passes_over: bool
) -> None:
    degrading = budget(degrade_at_percent=80)
    engine.enforce(degrading)
    engine.set_cap(degrading, 1000)
    engine.hold(cost_nusd=spent)

    assert isinstance(engine.reserve(is_last=False), Denied if passes_over else Granted)
    assert isinstance(engine.reserve(), Granted)
    assert [event.percent for event in engine.thresholds()] == []
    assert engine.usage() == []


def test_what_would_have_been_refused_stands_in_the_event_of_an_expired_call(engine: Engine) -> None:
    shadow = budget(id="shadow", shadow=True)
    engine.enforce(shadow)
    engine.set_cap(shadow, 50)
    engine.hold()
    engine.pass_time(LEASE_MS)

    engine.store.expire_due(engine.organization)

    [event] = engine.usage()
    assert event.shadow_refusals == ("team monthly budget",)
