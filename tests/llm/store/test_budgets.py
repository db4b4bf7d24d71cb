"""Budgets: never exceeded, used up, each in its period, each threshold reported once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.limits import Denied, Granted, Unready
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.release import Scope
from tests.llm.cast import principal
from tests.llm.store.engine import START_MS, Engine, budget
from tests.servers import eventually

MONTH = budget()


def test_a_call_is_held_until_it_is_posted_at_its_true_cost(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1000)

    request_id = engine.hold(cost_nusd=100)

    assert engine.state(MONTH) == (0, 100)
    assert engine.post(request_id, amount_nusd=60) == "posted"
    assert engine.state(MONTH) == (60, 0)
    [event] = engine.usage()
    assert (event.id, event.kind, event.amount_nusd, event.hold_nusd) == (f"{request_id}:1", "posted", 60, 100)
    assert (event.reserved_at_ms, event.posted_at_ms, event.seq) == (START_MS, START_MS, 1)


def test_a_budget_refuses_what_it_cannot_pay_and_says_which_it_is(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 250)
    engine.hold()
    engine.hold()

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert (refused.check.id, refused.check.scope_name) == ("month-nusd", "team monthly budget")
    assert refused.retry_after_ms is None
    assert engine.state(MONTH) == (0, 200)
    [event] = engine.usage()
    assert (event.kind, event.amount_nusd, event.refusing_scope) == ("refused", 0, "team monthly budget")


def test_all_budgets_must_pay_or_none_is_charged(engine: Engine) -> None:
    rich, poor = budget(id="rich"), budget("requests", "day")
    engine.enforce(rich, poor)
    engine.set_cap(rich, 10**9)
    engine.set_cap(poor, 1)
    engine.hold()

    assert isinstance(engine.reserve(), Denied)
    assert engine.state(rich) == (0, 100)
    assert engine.state(poor) == (0, 1)


def test_tokens_and_requests_are_budgets_as_money_is(engine: Engine) -> None:
    rules = [budget("tokens", "day"), budget("requests", "week")]
    engine.enforce(*rules)
    for rule in rules:
        engine.set_cap(rule, 100)

    request_id = engine.hold(tokens=60)

    assert isinstance(engine.reserve(tokens=60), Denied)
    assert engine.post(request_id, tokens=25) == "posted"
    assert [engine.state(rule) for rule in rules] == [(25, 0), (1, 0)]


def test_a_voided_call_costs_nothing(engine: Engine) -> None:
    rules = [MONTH, budget("requests", "day")]
    engine.enforce(*rules)
    for rule in rules:
        engine.set_cap(rule, 1000)

    assert engine.void(engine.hold()) == "voided"

    assert [engine.state(rule) for rule in rules] == [(0, 0), (0, 0)]
    [event] = engine.usage()
    assert (event.kind, event.amount_nusd) == ("voided", 0)


def test_a_soft_budget_and_a_shadow_count_and_never_refuse(engine: Engine) -> None:
    soft, shadow = budget(id="soft", hard=False), budget(id="shadow", shadow=True)
    engine.enforce(soft, shadow)
    engine.set_cap(soft, 10)
    engine.set_cap(shadow, 10)

    answer = engine.reserve()

    assert isinstance(answer, Granted)
    assert answer.shadow_refusals == ("team monthly budget",)
    assert engine.state(soft) == engine.state(shadow) == (0, 100)


def test_a_cap_of_zero_is_zero(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 0)

    assert isinstance(engine.reserve(), Denied)
    assert [event.percent for event in engine.thresholds()] == [100]


def test_a_budget_without_its_period_refuses(engine: Engine) -> None:
    engine.enforce(MONTH)

    assert engine.reserve() == Unready(reason="no_period")


def test_an_organization_that_is_not_ready_admits_nothing(engine: Engine) -> None:
    engine.enforce()
    engine.redis.delete(f"bursar:{{{engine.organization}}}:ready")

    assert engine.reserve() == Unready(reason="not_ready")


def test_a_decision_by_another_policy_is_refused(engine: Engine) -> None:
    engine.enforce()
    reservation = engine.reservation()
    engine.enforce()

    assert engine.store.reserve(reservation) == Unready(reason="stale_policy")


def test_the_call_after_a_raised_cap_passes_and_the_one_after_a_lowered_cap_does_not(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 100)
    engine.hold()
    assert isinstance(engine.reserve(), Denied)

    assert engine.set_cap(MONTH, 200, version=3)
    engine.hold()

    assert not engine.set_cap(MONTH, 10**6, version=2)
    assert engine.set_cap(MONTH, 50, version=4)
    assert isinstance(engine.reserve(cost_nusd=1), Denied)
    assert engine.state(MONTH) == (0, 200)


def test_a_call_belongs_to_the_period_of_its_admission(engine: Engine) -> None:
    day = budget("nusd", "day")
    engine.enforce(day)
    today, tomorrow = engine.period_name(day), engine.period_name(day, START_MS + 86_400_000)
    engine.set_cap(day, 100, period_name=today)
    engine.set_cap(day, 100, period_name=tomorrow)
    before_midnight = int(datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC).timestamp()) * 1000
    engine.go_to(before_midnight)
    request_id = engine.hold()
    assert isinstance(engine.reserve(), Denied)

    engine.pass_time(1000)
    engine.hold()
    engine.post(request_id)

    assert engine.state(day, period_name=today) == (100, 0)
    assert engine.state(day, period_name=tomorrow) == (0, 100)


@pytest.mark.parametrize("hours", [-11, 11])
def test_an_edge_whose_clock_is_hours_off_charges_the_right_day(engine: Engine, hours: int) -> None:
    day = budget("nusd", "day")
    engine.enforce(day)
    engine.set_cap(day, 100)
    true_ms = engine.now_ms
    engine.now_ms += hours * 3_600_000
    reservation = engine.reservation()
    engine.now_ms = true_ms

    assert isinstance(engine.store.reserve(reservation), Granted)
    assert engine.state(day) == (0, 100)


@pytest.mark.parametrize("days", [-2, 2])
def test_an_edge_whose_clock_is_days_off_admits_nothing(engine: Engine, days: int) -> None:
    day = budget("nusd", "day")
    engine.enforce(day)
    true_ms = engine.now_ms
    for offset in range(-3, 4):
        engine.set_cap(day, 100, period_name=engine.period_name(day, true_ms + offset * 86_400_000))
    engine.now_ms += days * 86_400_000
    reservation = engine.reservation()

    assert engine.store.reserve(reservation) == Unready(reason="no_period")


def test_the_same_request_is_held_once_however_often_it_is_sent(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1000)
    reservation = engine.reservation()
    first = engine.store.reserve(reservation)
    engine.pass_time(10)
    engine.set_cap(MONTH, 0, version=2)
    engine.enforce()

    assert engine.store.reserve(reservation) == first
    assert engine.state(MONTH) == (0, 100)


def test_a_refusal_that_was_written_stays_one(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 0)
    reservation = engine.reservation()
    refused = engine.store.reserve(reservation)
    engine.set_cap(MONTH, 1000, version=2)

    assert engine.store.reserve(reservation) == refused
    assert engine.post(reservation.request_id) == "duplicate"
    assert len(engine.usage()) == 1


def test_a_flood_of_refusals_is_sampled_and_counted(real_time: Engine) -> None:
    real_time.enforce(MONTH)
    real_time.set_cap(MONTH, 0, period_name=real_time.period_name(MONTH, _redis_ms(real_time)))
    real_time.now_ms = _redis_ms(real_time)

    # A second that does not end, however busy this machine is.
    real_time.redis.set(f"bursar:{{{real_time.organization}}}:refusals", 1)

    answers = [real_time.reserve() for _ in range(300)]

    assert all(isinstance(answer, Denied) for answer in answers)
    written = len(real_time.usage())
    assert written == 99
    counted: Counter[tuple[str, str]] = Counter()
    for hour in {at_ms // 3_600_000 for at_ms in (real_time.now_ms, _redis_ms(real_time))}:
        counted.update(real_time.store.refusal_counts(real_time.organization, hour * 3_600_000))
    assert counted == {("search", "team monthly budget"): 300 - written}


def test_the_next_second_has_its_own_sample_of_refusals(real_time: Engine) -> None:
    real_time.enforce(MONTH)
    real_time.now_ms = _redis_ms(real_time)
    real_time.set_cap(MONTH, 0)
    assert isinstance(real_time.reserve(), Denied)

    eventually(lambda: not real_time.redis.exists(f"bursar:{{{real_time.organization}}}:refusals"), "the next second")


def test_one_subject_pays_for_itself_alone(engine: Engine) -> None:
    each_user = budget(id="user", scope=Scope(kind="user", subject=None))
    engine.enforce(each_user)
    for user in ("alice", 'bob "the" {builder}:'):
        engine.set_cap(each_user, 100, subject=user)
        caller = principal(organization=engine.organization, user=user, speaks_for_users=True)
        engine.post(engine.hold(principal=caller), amount_nusd=100)
        assert engine.state(each_user, subject=user) == (100, 0)

    engine.hold(principal=principal(organization=engine.organization))
    assert {event.subject for event in engine.thresholds()} == {"alice", 'bob "the" {builder}:'}


def test_a_partial_grant_takes_all_that_is_free_while_nobody_else_wants_any(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 60)

    answer = engine.reserve(cost_nusd=100, floor_nusd=20)

    assert isinstance(answer, Granted)
    assert answer.granted_nusd == 60
    assert engine.state(MONTH) == (0, 60)


def test_a_partial_grant_in_contention_leaves_half_of_what_is_above_the_floor(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 160)
    engine.hold()

    granted = []
    while isinstance(answer := engine.reserve(cost_nusd=100, floor_nusd=20), Granted):
        granted.append(answer.granted_nusd)

    assert granted == [40, 20]
    assert engine.state(MONTH) == (0, 160)


@pytest.mark.parametrize("order", [1, -1])
def test_the_tightest_budget_decides_a_partial_grant(engine: Engine, order: int) -> None:
    team, organization = MONTH, budget(id="all", scope=Scope(kind="organization", subject=None))
    engine.enforce(*(team, organization)[::order])
    engine.set_cap(team, 80)
    engine.set_cap(organization, 50, subject=engine.organization)

    answer = engine.reserve(cost_nusd=100, floor_nusd=10)

    assert isinstance(answer, Granted)
    assert answer.granted_nusd == 50
    assert engine.state(team) == engine.state(organization, subject=engine.organization) == (0, 50)


def test_thresholds_are_reported_once_each(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1000)

    for _ in range(10):
        engine.post(engine.hold())
    engine.set_cap(MONTH, 900, version=2)

    assert [(event.percent, event.spent) for event in engine.thresholds()] == [
        (50, 500),
        (75, 800),
        (90, 900),
        (100, 1000),
    ]
    assert len({event.id for event in engine.thresholds()}) == 4


def test_a_lowered_cap_reports_what_it_has_crossed(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 10_000)
    engine.post(engine.hold())

    engine.set_cap(MONTH, 125, version=2)

    assert [(event.percent, event.cap) for event in engine.thresholds()] == [(50, 125), (75, 125)]


def test_the_first_refusal_reports_the_whole_budget(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 50)

    engine.reserve()
    engine.reserve()

    assert [(event.percent, event.spent) for event in engine.thresholds()] == [(100, 0)]


@given(cap=st.integers(1, MAX_CAP_NUSD), percent=st.sampled_from((50, 75, 90, 100)))
def test_a_threshold_is_exact_at_any_size(client: redis.Redis, cap: int, percent: int) -> None:
    engine = Engine.anew(client)
    rule = budget("nusd", "total", thresholds_percent=(percent,), hard=False)
    engine.enforce(rule)
    engine.set_cap(rule, cap)
    least = -(-cap * percent // 100)

    engine.post(engine.hold(cost_nusd=least), amount_nusd=least - 1)
    assert engine.thresholds() == []
    engine.post(engine.hold(cost_nusd=1), amount_nusd=1)

    [event] = engine.thresholds()
    assert (event.spent, event.cap) == (least, cap)


def test_the_largest_amounts_are_counted_to_the_last_nano_dollar(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, MAX_CAP_NUSD)

    request_id = engine.hold(cost_nusd=MAX_CAP_NUSD - 1)
    assert isinstance(engine.reserve(cost_nusd=2), Denied)
    last = engine.hold(cost_nusd=1)

    engine.post(request_id, amount_nusd=MAX_CAP_NUSD - 1)
    engine.post(last, amount_nusd=1)
    assert engine.state(MONTH) == (MAX_CAP_NUSD, 0)
    assert [event.amount_nusd for event in engine.usage()[1:]] == [MAX_CAP_NUSD - 1, 1]


@pytest.mark.parametrize("amount", [-1, MAX_CAP_NUSD + 1])
def test_amounts_that_cannot_be_counted_do_not_get_in(engine: Engine, amount: int) -> None:
    engine.enforce(MONTH)
    with pytest.raises(ValueError, match="amount"):
        engine.set_cap(MONTH, amount)
    with pytest.raises(ValueError, match="amount"):
        engine.reservation(cost_nusd=amount)
    with pytest.raises(ValueError, match="amount"):
        engine.post("r", amount_nusd=amount)


def _redis_ms(engine: Engine) -> int:
    seconds, microseconds = engine.redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
