"""How a key stands: its limits and budgets, and what remains of them.

Amounts are told of what belongs to the key, its team, and the user that it speaks for. Of what the whole organization
shares only its state is told: a percentage before and after a call of known cost would give the cap away.
"""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import BudgetCheck, Denied, Granted, LimitState, Reservation, Unready, checks_for
from kong_plugins.llm.release import Budget, BudgetUnit, Limit, LimitUnit, PolicyDocument, ScopeKind
from kong_plugins.llm.routes import PolicyBehind, RoutingTable
from kong_plugins.llm.store import Store
from kong_plugins.llm.windows import END_OF_TIME_MS

State = Literal["open", "used_up"]


class LimitStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. `reset_ms` is in how many milliseconds all of it is free again if nothing more is used."""

    name: str
    scope: ScopeKind
    unit: LimitUnit
    window_ms: int | None
    state: State
    amount: int | None = None
    remaining: int | None = None
    reset_ms: int | None = None


class BudgetStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its running period, which ends at `ends_at_ms`, None for never. `remaining` is neither spent nor
    held; money is in nano-USD."""

    name: str
    scope: ScopeKind
    unit: BudgetUnit
    period: str
    ends_at_ms: int | None
    refuses: bool
    state: State
    amount: int | None = None
    remaining: int | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """All that a key's calls fall under, of whatever model they are."""

    key: str
    team: str
    user: str | None
    limits: tuple[LimitStanding, ...]
    budgets: tuple[BudgetStanding, ...]


def standing_of(store: Store, table: RoutingTable, principal: Principal, *, now_ms: int) -> Standing:
    """How the key stands by this policy. What is in shadow mode refuses nothing, and is not told.

    Raises:
        PolicyBehind: a newer policy is in force.
        PolicyUnavailable: the counters are not complete, or a budget has no cap.
        StoreUnavailable: the store does not answer.
    """
    limits, budgets = checks_for(_telling(table, principal), principal, None, now_ms=now_ms)
    asked = Reservation(
        organization=principal.organization,
        request_id=str(uuid.uuid4()),
        policy_number=table.document.number,
        lease_ms=1,
        hold_nusd=0,
        hold_tokens=0,
        limits=limits,
        budgets=(),
        draft=b"{}",
        tier=principal.tier,
        probe=True,
    )
    answer = store.reserve(asked)
    if not isinstance(answer, Granted | Denied):
        is_behind = isinstance(answer, Unready) and answer.reason == "stale_policy"
        raise _unknown(PolicyBehind if is_behind else PolicyUnavailable)
    return Standing(
        key=principal.key,
        team=principal.team,
        user=principal.user if principal.speaks_for_users else None,
        limits=tuple(map(_limit, answer.limits)),
        budgets=tuple(_budget(store, principal.organization, check, now_ms) for check in budgets),
    )


def _telling(table: RoutingTable, principal: Principal) -> PolicyDocument:
    """The policy without what is in shadow mode, or about models that the key may not use."""

    def concerns(rule: Limit | Budget) -> bool:
        return not rule.shadow and (rule.scope.model is None or table.may_use(principal, rule.scope.model))

    document = table.document
    return msgspec.structs.replace(
        document,
        limits=tuple(filter(concerns, document.limits)),
        budgets=tuple(filter(concerns, document.budgets)),
    )


def _limit(standing: LimitState) -> LimitStanding:
    check = standing.check
    shown = LimitStanding(
        name=check.scope_name,
        scope=check.kind,
        unit=check.unit,
        window_ms=None if check.unit == "concurrency" else check.window_ms,
        state="open" if standing.remaining > 0 else "used_up",
    )
    if check.kind == "organization":
        return shown
    return msgspec.structs.replace(shown, amount=check.amount, remaining=standing.remaining, reset_ms=standing.reset_ms)


def _budget(store: Store, organization: str, check: BudgetCheck, now_ms: int) -> BudgetStanding:
    period = check.current if now_ms < check.current.end_ms else check.following
    known = store.budget_state(
        organization, check.id, check.subject, period.name, tier=check.tier, each_cap=check.each_cap
    )
    if known is None:
        raise _unknown(PolicyUnavailable)
    cap = known.cap
    cap = cap if check.share_percent is None else cap * check.share_percent // 100
    remaining = max(0, cap - known.spent - known.held)
    shown = BudgetStanding(
        name=check.scope_name,
        scope=check.kind,
        unit=check.unit,
        period=period.name,
        ends_at_ms=period.end_ms if period.end_ms < END_OF_TIME_MS else None,
        refuses=check.refuses,
        state="open" if remaining > 0 else "used_up",
    )
    if check.kind == "organization":
        return shown
    return msgspec.structs.replace(shown, amount=cap, remaining=remaining)


def _unknown(error: type[PolicyUnavailable]) -> PolicyUnavailable:
    return error("The limits cannot be told at the moment. Try again.", retry_after_ms=1000)
