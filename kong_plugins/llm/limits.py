"""What applies to one call: the limits and budgets of every scope, as one list of checks for one reservation.

Pure: the policy document and the call go in, the checks come out. `store.py` carries them to Redis, where one script
checks them all and then counts them all, or changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from kong_plugins.llm.keys import Principal
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.release import Budget, BudgetUnit, Limit, LimitUnit, PolicyDocument, Scope, ScopeKind, Tier
from kong_plugins.llm.windows import Period, PeriodKind, next_period, period_at

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
_BUDGET_WORDS: Final = {"nusd": "budget", "tokens": "token budget", "requests": "request budget"}
_Rule = TypeVar("_Rule", Limit, Budget)
_Costs = dict[LimitUnit | BudgetUnit, int]
# It is spliced into events and names as it is.
_REQUEST_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_WHOLE_PERCENT: Final = 100
_HOUR_MS: Final = 3_600_000
# How far an edge's clock may be off in either direction, less the hour for which periods are remembered.
_CLOCK_TOLERANCE_MS: Final = 12 * _HOUR_MS


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one call can use: its tokens, in and out, and its cost; None where no price is known.

    `provider` is where it would go. `floor_nusd` is the least money that is of any use to it, by default all of its
    cost.
    """

    request_model: str
    provider: str | None = None
    tokens: int
    cost_nusd: int | None
    floor_nusd: int | None = None


class LimitCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One limit of one subject, or with a `tier` the share of it that its calls may use together. `cost` is what the
    call takes of it while it is held; `queue_ms`, how long the call may stand in its line, where it has one."""

    id: str
    kind: ScopeKind
    subject: str
    scope_name: str
    unit: LimitUnit
    amount: int
    window_ms: int
    cost: int
    shadow: bool
    tier: Tier | None = None
    queue_ms: int | None = None


class BudgetCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One budget of one subject, in two periods that follow each other, between which Redis' clock chooses; or with a
    `tier`, the `share_percent` of its cap that the tier's calls may use together.

    A budget that refuses may grant less than `cost`, down to `floor`. A shadow budget only reports that it would have
    refused; a soft one is neither. `each_cap` is the cap of a subject for whom none has been set, and
    `thresholds_percent` what is reported of it.
    """

    id: str
    kind: ScopeKind
    subject: str
    scope_name: str
    unit: BudgetUnit
    current: Period
    following: Period
    cost: int
    floor: int
    refuses: bool
    shadow: bool
    tier: Tier | None = None
    share_percent: int | None = None
    queue_ms: int | None = None
    degrade_at_percent: int | None = None
    each_cap: int | None = None
    thresholds_percent: tuple[int, ...] = ()


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to hold what a call may use, at most `hold_nusd` (None where no price is known) and `hold_tokens`.

    `draft` is a JSON object with the fields of the event that are known so far; the store adds its id, kind, seq,
    instants and amounts, and what says how the call ended. A `probe` is decided in the same way and writes nothing.

    Where `is_last` is false another candidate is tried after this one: being refused is no event then. A call that
    `may_wait` is told its `place` in line, with which it asks again, and with how long it has waited; `patience_ms` is
    how long it would at most, if that is less than a rule allows. Where Redis is away, one that may go on
    `without_redis` does, if this gateway's own count of its limits lets it. Of one that is only `observed`, money and
    tokens are not held.

    `deployment` is who would serve it, and is passed over while it is failing and one of the `others` is not: those of
    the candidates that would be tried after it.
    """

    organization: str
    request_id: str
    policy_number: int
    lease_ms: int
    hold_nusd: int | None
    hold_tokens: int
    limits: tuple[LimitCheck, ...]
    budgets: tuple[BudgetCheck, ...]
    draft: bytes
    tier: Tier = "normal"
    probe: bool = False
    is_last: bool = True
    may_wait: bool = False
    place: int | None = None
    waited_ms: int = 0
    patience_ms: int | None = None
    without_redis: bool = False
    deployment: str | None = None
    others: tuple[str, ...] = ()
    observed: bool = False

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_amount(self.hold_nusd or 0)
        check_amount(self.hold_tokens)
        for budget in self.budgets:
            check_amount(budget.cost)
            if not 0 <= budget.floor <= budget.cost:
                raise ValueError("a floor lies between nothing and the cost")


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit has left, after a grant or at a refusal, and in how many milliseconds all of it is free again."""

    check: LimitCheck
    remaining: int
    reset_ms: int


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The call is held: `granted_nusd` of money, until `reserved_at_ms` plus the lease.

    `shadow_refusals` names the limits and budgets that would have refused it, were they not in shadow mode. `other_id`
    is the id that the call has got where the gateway let it go on without Redis, which may yet hold the first.
    `is_marked`: its deployment has lately failed others; `has_other`: should it fail this call too, another candidate
    could be tried.
    """

    reserved_at_ms: int
    granted_nusd: int
    limits: tuple[LimitState, ...]
    shadow_refusals: tuple[str, ...] = ()
    other_id: str | None = None
    is_marked: bool = False
    has_other: bool = False


class Failing(msgspec.Struct, frozen=True):
    """Nothing is held: the call would fit, but its deployment is failing, and another candidate is not."""


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A limit or a budget refused and nothing is held.

    `retry_after_ms` is when the limit would admit the call if nothing else changed; None where waiting cannot help:
    for a budget, unless it is only that others stand in its line, and for a call that is larger than the whole limit.
    `limits` are told only where a limit refused.
    """

    check: LimitCheck | BudgetCheck
    retry_after_ms: int | None
    limits: tuple[LimitState, ...] = ()


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is held yet: the call stands in the line of `check`.

    It has to ask again within `retry_ms`, with its `place`; sooner where something was freed. One that has not asked
    for three seconds has lost its turn to those behind it.
    """

    check: LimitCheck | BudgetCheck
    place: int
    retry_ms: int


class Unready(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing could be decided, so nothing is held."""

    reason: UnreadyReason


def check_request_id(request_id: str) -> None:
    """Raises: ValueError: it is no such id (letters, digits, `-` and `_`, at most 64)."""
    if _REQUEST_ID.fullmatch(request_id) is None:
        raise ValueError(f"not a request id: {request_id!r}")


def check_amount(amount: int) -> None:
    """Raises: ValueError: Redis could not count it exactly, or it is negative."""
    if not 0 <= amount <= MAX_CAP_NUSD:
        raise ValueError(f"an amount must lie between 0 and {MAX_CAP_NUSD}: {amount}")


def checks_for(
    document: PolicyDocument, principal: Principal, demand: Demand | None, *, now_ms: int
) -> tuple[tuple[LimitCheck, ...], tuple[BudgetCheck, ...]]:
    """The checks of every limit and budget that this call falls under. `now_ms` only has to be right to 11 hours.

    A user's limits and budgets do not concern a call that names no user, or whose key does not speak for users.
    Without a demand they are those of every call that the caller could make, and nothing is taken of them.
    """
    costs = _costs(demand)
    least_nusd = demand.floor_nusd if demand is not None else None
    return (
        tuple(
            check
            for limit, subject in rules_of(document.limits, principal)
            if _is_about(limit.scope, demand)
            for check in _limit_checks(limit, subject, principal.tier, costs)
        ),
        tuple(
            check
            for budget, subject in rules_of(document.budgets, principal)
            if _is_about(budget.scope, demand)
            for check in _budget_checks(
                budget, subject, principal.tier, costs, least_nusd, _periods(document, budget, now_ms)
            )
        ),
    )


def reporting_only(
    limits: Iterable[LimitCheck], budgets: Iterable[BudgetCheck]
) -> tuple[tuple[LimitCheck, ...], tuple[BudgetCheck, ...]]:
    """The same checks of a call that nothing stops: each that would have refused it says so, and there are no lines."""
    return (
        tuple(msgspec.structs.replace(check, shadow=True, queue_ms=None) for check in limits),
        tuple(
            msgspec.structs.replace(
                check, shadow=check.shadow or check.refuses, refuses=False, queue_ms=None, degrade_at_percent=None
            )
            for check in budgets
        ),
    )


def needs_price(document: PolicyDocument, principal: Principal, demand: Demand) -> bool:
    """Whether a hard money budget applies, under which a call without a known price must be refused."""
    return any(
        budget.unit == "nusd" and budget.hard and not budget.shadow and _is_about(budget.scope, demand)
        for budget, _ in rules_of(document.budgets, principal)
    )


def rules_of(rules: Iterable[_Rule], principal: Principal) -> list[tuple[_Rule, str]]:
    """The limits or budgets under which a caller's calls fall, each with the subject that they count for; those that
    are only about one model or provider too."""
    # Most rules of a policy are about somebody else, and every call looks through them all.
    own = {None, principal.organization, principal.team, principal.key, principal.user}
    found = ((rule, _subject_of(rule.scope, principal)) for rule in rules if rule.scope.subject in own)
    return [(rule, subject) for rule, subject in found if subject is not None]


def _is_about(scope: Scope, demand: Demand | None) -> bool:
    return demand is None or (scope.model in (None, demand.request_model) and scope.provider in (None, demand.provider))


def _subject_of(scope: Scope, principal: Principal) -> str | None:
    """The subject that a caller's calls count for, or None where the scope is about others."""
    if scope.tag is not None and scope.tag not in principal.tags:
        return None
    subject = {
        "organization": principal.organization,
        "team": principal.team,
        "key": principal.key,
        "user": principal.user if principal.speaks_for_users else None,
    }[scope.kind]
    return subject if scope.subject in (None, subject) else None


def _limit_checks(limit: Limit, subject: str, tier: Tier, costs: _Costs) -> Iterator[LimitCheck]:
    """The check of the limit, and that of the tier's share in it, if it has one."""
    window = _WINDOW_WORDS.get(limit.window_ms, f"per {limit.window_ms / 1000:g} seconds")
    words = "concurrent requests" if limit.unit == "concurrency" else f"{limit.unit} {window}"
    check = LimitCheck(
        id=limit.id,
        kind=limit.scope.kind,
        subject=subject,
        scope_name=f"{_scope_word(limit.scope)} limit of {words}",
        unit=limit.unit,
        amount=limit.amount,
        window_ms=limit.window_ms,
        cost=costs[limit.unit],
        shadow=limit.shadow,
        queue_ms=_queue_ms(limit),
    )
    yield check
    percent = limit.tier_shares_percent.get(tier, _WHOLE_PERCENT)
    if percent < _WHOLE_PERCENT:
        yield msgspec.structs.replace(
            check,
            scope_name=_share_name(check.scope_name, tier),
            amount=limit.amount * percent // _WHOLE_PERCENT,
            tier=tier,
        )


def _queue_ms(rule: Limit | Budget) -> int | None:
    """How long a call may wait; None where the rule has no line, as what never refuses has none."""
    refuses = not rule.shadow and (isinstance(rule, Limit) or rule.hard)
    return rule.queue_ms or None if refuses else None


def _share_name(scope_name: str, tier: Tier) -> str:
    return f"share of {tier} keys in the {scope_name}"


def _costs(demand: Demand | None) -> _Costs:
    if demand is None:
        return {"nusd": 0, "tokens": 0, "requests": 0, "concurrency": 0}
    return {"nusd": demand.cost_nusd or 0, "tokens": demand.tokens, "requests": 1, "concurrency": 1}


def _budget_checks(
    budget: Budget,
    subject: str,
    tier: Tier,
    costs: _Costs,
    least_nusd: int | None,
    periods: tuple[Period, Period],
) -> Iterator[BudgetCheck]:
    """The check of the budget, and that of the tier's share in it, if it has one."""
    cost = costs[budget.unit]
    check = BudgetCheck(
        id=budget.id,
        kind=budget.scope.kind,
        subject=subject,
        scope_name=f"{_scope_word(budget.scope)} {_PERIOD_WORDS[budget.period]} {_BUDGET_WORDS[budget.unit]}",
        unit=budget.unit,
        current=periods[0],
        following=periods[1],
        cost=cost,
        floor=cost if budget.unit != "nusd" or least_nusd is None else min(cost, least_nusd),
        refuses=budget.hard and not budget.shadow,
        shadow=budget.hard and budget.shadow,
        queue_ms=_queue_ms(budget),
        degrade_at_percent=budget.degrade_at_percent,
        each_cap=budget.each_cap,
        thresholds_percent=budget.thresholds_percent if budget.each_cap is not None else (),
    )
    yield check
    percent = budget.tier_shares_percent.get(tier, _WHOLE_PERCENT)
    if percent < _WHOLE_PERCENT:
        yield msgspec.structs.replace(
            check, scope_name=_share_name(check.scope_name, tier), tier=tier, share_percent=percent
        )


def _periods(document: PolicyDocument, budget: Budget, now_ms: int) -> tuple[Period, Period]:
    return _periods_around(budget.period, now_ms // _HOUR_MS, document.time_zone, document.fiscal_month_start)


@lru_cache(maxsize=1024)
def _periods_around(kind: PeriodKind, hour: int, time_zone: str, fiscal_month_start: int) -> tuple[Period, Period]:
    """The period of half a day before this hour, and the one after it: the shortest of them, two days, holds this
    hour in its middle, so that a clock that is off by some hours still offers the right one."""
    zone = ZoneInfo(time_zone)
    earlier_ms = hour * _HOUR_MS - _CLOCK_TOLERANCE_MS
    current = period_at(kind, earlier_ms, zone, fiscal_month_start=fiscal_month_start)
    return current, next_period(kind, current, zone, fiscal_month_start=fiscal_month_start)


@lru_cache(maxsize=1024)
def _scope_word(scope: Scope) -> str:
    narrowings = {"model": scope.model, "provider": scope.provider, "tag": scope.tag}
    words = ", ".join(f"{name} {value}" for name, value in narrowings.items() if value is not None)
    return f"{scope.kind} ({words})" if words else scope.kind
