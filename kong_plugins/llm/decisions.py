"""What Redis has decided on a reservation, from the script's answer (`scripts/reserve.lua`)."""

from __future__ import annotations

from typing import Any

from kong_plugins.llm.limits import (
    BudgetCheck,
    Denied,
    Failing,
    Granted,
    LimitCheck,
    LimitState,
    Reservation,
    Unready,
    Waiting,
)

Decision = Granted | Failing | Denied | Waiting | Unready


def decision_of(reservation: Reservation, answer: list[Any]) -> Decision:
    """The script's answer to this reservation."""
    kind = answer[0]
    if kind == b"granted":
        return _granted(reservation, answer)
    if kind == b"failing":
        return Failing()
    if kind == b"unready":
        return Unready(reason=answer[1].decode())
    check = _checks(reservation)[answer[1] - 1]
    if kind == b"waiting":
        return Waiting(check=check, place=answer[2], retry_ms=answer[3])
    retry_after_ms = None if answer[2] < 0 else answer[2]
    states = _limit_states(reservation, answer[3]) if answer[3] else ()
    return Denied(check=check, retry_after_ms=retry_after_ms, limits=states)


def _checks(reservation: Reservation) -> tuple[LimitCheck | BudgetCheck, ...]:
    return (*reservation.limits, *reservation.budgets)


def _granted(reservation: Reservation, answer: list[Any]) -> Granted:
    _, reserved_at_ms, granted_nusd, numbers, shadows, is_marked, has_other = answer
    return Granted(
        reserved_at_ms=reserved_at_ms,
        granted_nusd=granted_nusd,
        limits=_limit_states(reservation, numbers),
        shadow_refusals=tuple(_checks(reservation)[number - 1].scope_name for number in shadows),
        is_marked=bool(is_marked),
        has_other=bool(has_other),
    )


def _limit_states(reservation: Reservation, numbers: list[int]) -> tuple[LimitState, ...]:
    states = zip(reservation.limits, numbers[0::2], numbers[1::2], strict=True)
    return tuple(LimitState(check=check, remaining=left, reset_ms=reset) for check, left, reset in states)
