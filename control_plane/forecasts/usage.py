"""What the ledger's sums say of a budget: how much each of its subjects has used lately."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from control_plane.keys.selectors import speaking_key_ids
from control_plane.ledger.rows import hour_start, instant_of
from control_plane.ledger.selectors import Spend, spend_by

if TYPE_CHECKING:
    from control_plane.budgets.models import Budget

LONGEST: Final = timedelta(days=7)
LEAST: Final = timedelta(hours=24)
_HOUR: Final = timedelta(hours=1)
_SMALLEST: Final = timedelta(microseconds=1)


class Used(NamedTuple):
    """An amount in the budget's unit, and in how many calls."""

    amount: int
    calls: int


class Window(NamedTuple):
    """A span of whole local hours."""

    start: datetime
    end: datetime

    @property
    def length_ms(self) -> int:
        return (self.end - self.start) // timedelta(milliseconds=1)


def window_of(budget: Budget, *, period_start_ms: int, at: datetime, zone: ZoneInfo) -> Window | None:
    """The hours whose usage tells the rate: those of the last week, or of the period's or the budget's life if that is
    shorter; None while it is too short to tell."""
    end = hour_start(at, zone)
    start = max(end - LONGEST, instant_of(period_start_ms), budget.created_at)
    window = Window(_hour_from(start, zone), end)
    return window if window.end - window.start >= LEAST else None


def usage_by_subject(budget: Budget, window: Window) -> dict[str, Used]:
    """What calls that fall under the budget have used in these hours, by its subject."""
    organization = budget.organization
    rows = spend_by(
        organization.slug,
        "team" if budget.scope == "organization" else budget.scope,
        start=window.start,
        end=window.end,
        zone=organization.zone,
        narrowed=_narrowed(budget),
    )
    found: dict[str, Used] = {}
    for row in rows:
        subject = organization.slug if budget.scope == "organization" else row.subject
        if subject and budget.subject in (None, subject):
            before = found.get(subject, Used(0, 0))
            found[subject] = Used(before.amount + _amount(budget, row), before.calls + row.requests)
    return found


def _narrowed(budget: Budget) -> dict[str, Any]:
    narrowed: dict[str, Any] = {}
    if budget.model is not None:
        narrowed["request_model"] = budget.model.name
    if budget.provider is not None:
        narrowed["provider"] = budget.provider.name
    if budget.tag is not None:
        narrowed["tags__contains"] = [budget.tag]
    if budget.scope == "user":
        narrowed["key__in"] = speaking_key_ids(budget.organization_id)
    return narrowed


def _amount(budget: Budget, row: Spend) -> int:
    amounts = {"nusd": row.amount_nusd, "tokens": row.input_tokens + row.output_tokens, "requests": row.requests}
    return amounts[budget.unit]


def _hour_from(at: datetime, zone: ZoneInfo) -> datetime:
    """The first beginning of a local hour that is not before the instant."""
    return hour_start(at + _HOUR - _SMALLEST, zone)
