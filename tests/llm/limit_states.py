"""How a limit stands, made up for tests of what is told of it."""

from __future__ import annotations

from kong_plugins.llm.limits import LimitCheck, LimitState
from kong_plugins.llm.release import LimitUnit, ScopeKind


def limit_state(
    unit: LimitUnit,
    *,
    amount: int,
    remaining: int,
    reset_ms: int = 60_000,
    window_ms: int = 60_000,
    kind: ScopeKind = "team",
    shadow: bool = False,
) -> LimitState:
    check = LimitCheck(
        id="l",
        kind=kind,
        subject="s",
        scope_name="limit",
        unit=unit,
        amount=amount,
        window_ms=window_ms,
        cost=1,
        shadow=shadow,
    )
    return LimitState(check=check, remaining=remaining, reset_ms=reset_ms)
