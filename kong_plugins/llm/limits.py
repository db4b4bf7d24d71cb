"""What applies to one call: the limits and budgets of every scope, as one list of checks for one reservation.

Pure: the policy document and the call go in, the checks come out. `store.py` carries them to Redis, where one script
checks them all and then counts them all, or changes nothing.
"""

from __future__ import annotations

from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from kong_plugins.llm.keys import Principal
from kong_plugins.llm.release import Budget, BudgetUnit, Limit, LimitUnit, PolicyDocument, Scope
from kong_plugins.llm.windows import Period, next_period, period_at

UnreadyReason = Literal["not_ready", "stale_policy", "no_period", "request_id_used"]

_WINDOW_WORDS: Final = {1_000: "per second", 60_000: "per minute", 3_600_000: "per hour", 86_400_000: "per day"}
_PERIOD_WORDS: Final = {
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "quarter": "quarterly",
    "year": "yearly",
    "total": "total",
}


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one call can use: its tokens, in and out, and its cost; None where no price is known."""

    request_model: str
    tokens: int
    cost_nusd: int | None


class LimitCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of one subject. `cost` is what the call takes of it while it is held."""

    id: str
    subject: str
    scope_name: str
    unit: LimitUnit
    amount: int
    window_ms: int
    cost: int
    shadow: bool


class BudgetCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One budget of one subject, in the period of now and in the next, between which Redis' clock chooses.

    A money budget may grant less than `cost`, down to `floor`; other units grant all or nothing.
    """

    id: str
    subject: str
    scope_name: str
    unit: BudgetUnit
    current: Period
    following: Period
    cost: int
    floor: int
    refuses: bool


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to hold what a call may use. `draft` is a JSON object with the event's fields known so far."""

    organization: str
    request_id: str
    policy_number: int
    lease_ms: int
    hold_nusd: int
    limits: tuple[LimitCheck, ...]
    budgets: tuple[BudgetCheck, ...]
    draft: bytes


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit has left after a grant, and in how many milliseconds all of it is free again."""

    check: LimitCheck
    remaining: int
    reset_ms: int


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The call is held: `granted_nusd` of money, until `reserved_at_ms` plus the lease."""

    reserved_at_ms: int
    granted_nusd: int
    limits: tuple[LimitState, ...]


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A limit or a budget refused and nothing is held.

    `retry_after_ms` is when the limit would admit the call if nothing else changed; None where waiting cannot help:
    for a budget, and for a call that is larger than the whole limit.
    """

    check: LimitCheck | BudgetCheck
    retry_after_ms: int | None


class Unready(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing could be decided, so nothing is held."""

    reason: UnreadyReason


def checks_for(
    document: PolicyDocument, principal: Principal, demand: Demand, *, now_ms: int
) -> tuple[tuple[LimitCheck, ...], tuple[BudgetCheck, ...]]:
    """The checks of every limit and budget that this call falls under. `now_ms` only has to be right to a period."""
    zone = ZoneInfo(document.time_zone)
    limits = tuple(
        _limit_check(limit, subject, demand)
        for limit in document.limits
        if (subject := _subject_of(limit.scope, principal, demand)) is not None
    )
    budgets = tuple(
        _budget_check(budget, subject, demand, _periods(document, budget, zone, now_ms))
        for budget in document.budgets
        if (subject := _subject_of(budget.scope, principal, demand)) is not None
    )
    return limits, budgets


def needs_price(document: PolicyDocument, principal: Principal, demand: Demand) -> bool:
    """Whether a hard money budget applies, under which a call without a known price must be refused."""
    return any(
        budget.unit == "nusd" and budget.hard and not budget.shadow
        for budget in document.budgets
        if _subject_of(budget.scope, principal, demand) is not None
    )


def _subject_of(scope: Scope, principal: Principal, demand: Demand) -> str | None:
    """The subject that this call counts for, or None where the scope is about others."""
    if scope.model is not None and scope.model != demand.request_model:
        return None
    subject = {
        "organization": principal.organization,
        "team": principal.team,
        "key": principal.key,
        "user": principal.user,
    }[scope.kind]
    return subject if scope.subject in (None, subject) else None


def _limit_check(limit: Limit, subject: str, demand: Demand) -> LimitCheck:
    window = _WINDOW_WORDS.get(limit.window_ms, f"per {limit.window_ms / 1000:g} seconds")
    words = "concurrent requests" if limit.unit == "concurrency" else f"{limit.unit} {window}"
    return LimitCheck(
        id=limit.id,
        subject=subject,
        scope_name=f"{_scope_word(limit.scope)} limit of {words}",
        unit=limit.unit,
        amount=limit.amount,
        window_ms=limit.window_ms,
        cost=demand.tokens if limit.unit == "tokens" else 1,
        shadow=limit.shadow,
    )


def _budget_check(budget: Budget, subject: str, demand: Demand, periods: tuple[Period, Period]) -> BudgetCheck:
    cost = {"nusd": demand.cost_nusd or 0, "tokens": demand.tokens, "requests": 1}[budget.unit]
    return BudgetCheck(
        id=budget.id,
        subject=subject,
        scope_name=f"{_scope_word(budget.scope)} {_PERIOD_WORDS[budget.period]} budget",
        unit=budget.unit,
        current=periods[0],
        following=periods[1],
        cost=cost,
        floor=cost,
        refuses=budget.hard and not budget.shadow,
    )


def _periods(document: PolicyDocument, budget: Budget, zone: ZoneInfo, now_ms: int) -> tuple[Period, Period]:
    start = document.fiscal_month_start
    current = period_at(budget.period, now_ms, zone, fiscal_month_start=start)
    return current, next_period(budget.period, current, zone, fiscal_month_start=start)


def _scope_word(scope: Scope) -> str:
    return scope.kind if scope.model is None else f"{scope.kind} (model {scope.model})"
