"""What limits and budgets have refused, and what those in shadow mode would have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from control_plane.ledger.statements import statement


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


def refusals(organization: str, *, start: datetime | None, end: datetime | None) -> list[Refusals]:
    """What was refused from `start` until before `end`, the most frequent first."""
    rows = _rows("refusals", organization, start, end)
    return [Refusals(rule=rule, team=team, calls=calls) for rule, team, calls in rows]


def shadow_refusals(organization: str, *, start: datetime | None, end: datetime | None) -> list[ShadowRefusals]:
    """What would have been refused of the calls that were admitted from `start` until before `end`, the most frequent
    first. One call can be in several lines."""
    return [
        ShadowRefusals(rule=rule, team=team, calls=calls, amount_nusd=amount_nusd, unpriced=unpriced)
        for rule, team, calls, amount_nusd, unpriced in _rows("shadow_refusals", organization, start, end)
    ]


def _rows(name: str, organization: str, start: datetime | None, end: datetime | None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement(name), {"organization": organization, "start": start, "end": end})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
