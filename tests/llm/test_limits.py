"""Which limits and budgets a call falls under, and how they are called."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.limits import BudgetCheck, Demand, LimitCheck, Reservation, checks_for, needs_price
from kong_plugins.llm.release import Budget, Limit, Scope
from kong_plugins.llm.windows import PeriodKind
from tests.llm.cast import policy, principal

NOW_MS = 1_774_695_600_000  # 2026-03-28, noon in Berlin
HOUR_MS = 3_600_000
DEMAND = Demand(request_model="mini", provider="openai", tokens=500, cost_nusd=7000)


def limit(scope: Scope, **changes: object) -> Limit:
    fields: dict[str, object] = {"id": "l", "unit": "requests", "amount": 600, "window_ms": 60_000}
    return Limit(scope=scope, **(fields | changes))  # type: ignore[arg-type]


def budget(scope: Scope, **changes: object) -> Budget:
    fields: dict[str, object] = {"id": "b", "unit": "nusd", "period": "month"}
    return Budget(scope=scope, **(fields | changes))  # type: ignore[arg-type]


def limits_of(*limits: Limit, demand: Demand = DEMAND, user: str | None = None) -> tuple[LimitCheck, ...]:
    who = principal(user=user, speaks_for_users=True, tags=("prod",))
    return checks_for(policy(limits=limits), who, demand, now_ms=NOW_MS)[0]


def budgets_of(*budgets: Budget, demand: Demand = DEMAND, now_ms: int = NOW_MS) -> tuple[BudgetCheck, ...]:
    return checks_for(policy(budgets=budgets), principal(), demand, now_ms=now_ms)[1]


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        (Scope(kind="organization", subject=None), "acme"),
        (Scope(kind="organization", subject="acme"), "acme"),
        (Scope(kind="team", subject=None), "search"),
        (Scope(kind="team", subject="search"), "search"),
        (Scope(kind="team", subject="support"), None),
        (Scope(kind="key", subject=None), "SEARCHKEY001"),
        (Scope(kind="key", subject="OTHERKEY0001"), None),
        (Scope(kind="user", subject=None), "alice"),
        (Scope(kind="user", subject="bob"), None),
        (Scope(kind="team", subject=None, model="mini"), "search"),
        (Scope(kind="team", subject=None, model="secret"), None),
        (Scope(kind="team", subject=None, provider="openai"), "search"),
        (Scope(kind="team", subject=None, provider="mistral"), None),
        (Scope(kind="organization", subject=None, tag="prod"), "acme"),
        (Scope(kind="team", subject=None, tag="batch"), None),
        (Scope(kind="key", subject=None, model="mini", provider="openai", tag="prod"), "SEARCHKEY001"),
    ],
)
def test_a_scope_counts_for_its_subject_or_not_at_all(scope: Scope, subject: str | None) -> None:
    assert [check.subject for check in limits_of(limit(scope), user="alice")] == ([subject] if subject else [])


def test_a_users_limit_does_not_concern_a_call_without_a_user() -> None:
    assert limits_of(limit(Scope(kind="user", subject=None))) == ()


def test_a_label_selects_no_users_limit_where_the_key_does_not_speak_for_users() -> None:
    document = policy(limits=(limit(Scope(kind="user", subject=None)),))

    assert checks_for(document, principal(user="alice"), DEMAND, now_ms=NOW_MS) == ((), ())


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (limit(Scope(kind="team", subject=None)), "team limit of requests per minute"),
        (limit(Scope(kind="key", subject=None), unit="tokens", window_ms=1000), "key limit of tokens per second"),
        (limit(Scope(kind="user", subject=None), window_ms=30_000), "user limit of requests per 30 seconds"),
        (limit(Scope(kind="team", subject=None), unit="concurrency"), "team limit of concurrent requests"),
        (
            limit(Scope(kind="team", subject=None, model="mini"), window_ms=86_400_000),
            "team (model mini) limit of requests per day",
        ),
        (
            limit(Scope(kind="team", subject=None, provider="openai", tag="prod")),
            "team (provider openai, tag prod) limit of requests per minute",
        ),
    ],
)
def test_a_limit_has_a_name_that_says_whose_it_is_but_not_how_much(rule: Limit, name: str) -> None:
    assert [check.scope_name for check in limits_of(rule, user="alice")] == [name]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "team monthly budget"),
        ({"unit": "tokens", "period": "day"}, "team daily token budget"),
        ({"unit": "requests", "period": "total"}, "team total request budget"),
    ],
)
def test_a_budget_has_a_name_too(changes: dict[str, object], name: str) -> None:
    assert [check.scope_name for check in budgets_of(budget(Scope(kind="team", subject=None), **changes))] == [name]


def test_what_a_call_takes_depends_on_the_unit() -> None:
    team = Scope(kind="team", subject=None)
    limits = limits_of(*(limit(team, unit=unit) for unit in ("requests", "tokens", "concurrency")))
    budgets = budgets_of(*(budget(team, unit=unit) for unit in ("nusd", "tokens", "requests")))

    assert [check.cost for check in limits] == [1, 500, 1]
    assert [(check.cost, check.floor) for check in budgets] == [(7000, 7000), (500, 500), (1, 1)]


def test_a_floor_is_about_money_and_never_above_the_cost() -> None:
    team = Scope(kind="team", subject=None)
    for floor_nusd, expected in ((100, 100), (9000, 7000)):
        demand = Demand(request_model="mini", tokens=500, cost_nusd=7000, floor_nusd=floor_nusd)
        money, tokens = budgets_of(budget(team), budget(team, unit="tokens"), demand=demand)
        assert (money.floor, tokens.floor) == (expected, 500)


@pytest.mark.parametrize("floor", [-1, 7001])
def test_a_floor_outside_the_cost_is_not_reserved(floor: int) -> None:
    [check] = budgets_of(budget(Scope(kind="team", subject=None)))

    with pytest.raises(ValueError, match="floor"):
        Reservation(
            organization="acme",
            request_id="r1",
            policy_number=1,
            lease_ms=1000,
            hold_nusd=7000,
            hold_tokens=500,
            limits=(),
            budgets=(msgspec.structs.replace(check, floor=floor),),
            draft=b"{}",
        )


@pytest.mark.parametrize(
    ("hard", "shadow", "refuses", "reports"),
    [(True, False, True, False), (False, False, False, False), (True, True, False, True), (False, True, False, False)],
)
def test_only_a_hard_budget_refuses_and_in_shadow_it_reports(
    hard: bool, shadow: bool, refuses: bool, reports: bool
) -> None:
    rule = budget(Scope(kind="team", subject=None), hard=hard, shadow=shadow)

    [check] = budgets_of(rule)

    assert (check.refuses, check.shadow) == (refuses, reports)
    unpriced = Demand(request_model="mini", tokens=500, cost_nusd=None)
    assert needs_price(policy(budgets=(rule,)), principal(), unpriced) is refuses
    assert needs_price(policy(budgets=(rule,)), principal(team="support"), unpriced) is refuses


def test_a_budget_of_others_needs_no_price() -> None:
    others = budget(Scope(kind="team", subject="support"))
    tokens = budget(Scope(kind="team", subject=None), unit="tokens")

    assert not needs_price(policy(budgets=(others, tokens)), principal(), DEMAND)


@given(
    kind=st.sampled_from(["day", "week", "month", "quarter", "year", "total"]),
    now_ms=st.integers(NOW_MS, NOW_MS + 400 * 24 * HOUR_MS),
    skew_ms=st.integers(-11 * HOUR_MS, 11 * HOUR_MS),
)
def test_an_edge_whose_clock_is_off_offers_the_true_period_nevertheless(
    kind: PeriodKind, now_ms: int, skew_ms: int
) -> None:
    [check] = budgets_of(budget(Scope(kind="team", subject=None), period=kind), now_ms=now_ms + skew_ms)

    holding = [period for period in (check.current, check.following) if period.start_ms <= now_ms < period.end_ms]
    assert len({period.name for period in holding}) == 1
