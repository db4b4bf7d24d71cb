"""What limits and budgets have refused, and what those in shadow mode would have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import connection

from control_plane.budgets.selectors import now_ms
from control_plane.ledger.rows import instant_of
from control_plane.ledger.statements import statement
from control_plane.live import live_state

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """How many calls of a team a limit or budget has refused; `rule` is its name as callers are told it."""

    rule: str
    team: str
    calls: int


@dataclass(frozen=True, kw_only=True)
class ShadowRefusals(Refusals):
    """The calls that would have been refused, and what they have cost: of `unpriced` ones that is not known."""

    amount_nusd: int
    unpriced: int


def refusals(
    organization: str, *, start: datetime | None, end: datetime | None, teams: Collection[str] | None = None
) -> list[Refusals]:
    """What was refused from `start` until before `end`, of some teams or of all, the most frequent first."""
    rows = _rows("refusals", organization, start, end, teams)
    return [Refusals(rule=rule, team=team, calls=calls) for rule, team, calls in rows]


def shadow_refusals(
    organization: str, *, start: datetime | None, end: datetime | None, teams: Collection[str] | None = None
) -> list[ShadowRefusals]:
    """What would have been refused of the calls that were admitted from `start` until before `end`, the most frequent
    first. One call can be in several lines."""
    return [
        ShadowRefusals(rule=rule, team=team, calls=calls, amount_nusd=amount_nusd, unpriced=unpriced)
        for rule, team, calls, amount_nusd, unpriced in _rows("shadow_refusals", organization, start, end, teams)
    ]


def keep_refusal_counts(organization: str, *, hours: int) -> None:
    """Copy from Redis how many calls were refused without an event in this hour and those before it, `hours` in all.

    Redis' counts are of whole hours and only rise, so that copying them again does no harm.

    Raises:
        StoreUnavailable: they cannot be read.
    """
    this_hour_ms = now_ms() // _HOUR_MS * _HOUR_MS
    for hour_ms in range(this_hour_ms, this_hour_ms - hours * _HOUR_MS, -_HOUR_MS):
        rows = [
            {
                "organization": organization,
                "hour": instant_of(hour_ms),
                "team": team,
                "refusing_scope": rule,
                "calls": calls,
            }
            for (team, rule), calls in live_state().refusal_counts(organization, hour_ms).items()
        ]
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(statement("keep_refusal_counts"), {"rows": msgspec.json.encode(rows).decode()})


def _rows(
    name: str, organization: str, start: datetime | None, end: datetime | None, teams: Collection[str] | None = None
) -> list[tuple[Any, ...]]:
    asked = {"organization": organization, "start": start, "end": end, "teams": None if teams is None else list(teams)}
    with connection.cursor() as cursor:
        cursor.execute(statement(name), asked)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
