"""Calendar periods of budgets, in an organization's time zone.

A request belongs to the period of its admission. The period's name is part of the counter's name, so that
a new period needs no job to reset anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

PeriodKind = Literal["day", "week", "month", "quarter", "year", "total"]

END_OF_TIME_MS: Final = 253_402_300_800_000  # year 10000: "total" never ends


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """The half-open span [start_ms, end_ms) in Unix milliseconds."""

    name: str
    start_ms: int
    end_ms: int


def period_at(kind: PeriodKind, at_ms: int, zone: ZoneInfo, *, fiscal_month_start: int = 1) -> Period:
    """The period of `kind` that holds the instant `at_ms`.

    `fiscal_month_start` (1–28) is the day on which months, quarters and years begin.
    """
    if kind == "total":
        return Period(name="total", start_ms=0, end_ms=END_OF_TIME_MS)
    today = datetime.fromtimestamp(at_ms / 1000, zone).date()
    start, end = _BOUNDS[kind](today, fiscal_month_start)
    return Period(
        name=f"{kind}-{start.isoformat()}", start_ms=_midnight_ms(start, zone), end_ms=_midnight_ms(end, zone)
    )


def next_period(kind: PeriodKind, period: Period, zone: ZoneInfo, *, fiscal_month_start: int = 1) -> Period:
    """The period that begins where `period` ends; the total is followed by itself."""
    if kind == "total":
        return period
    return period_at(kind, period.end_ms, zone, fiscal_month_start=fiscal_month_start)


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local day. Where a clock change skips midnight, the day begins at the change."""
    local = datetime.combine(day, time.min, zone)
    return int(local.timestamp()) * 1000


def _day(today: date, _start: int) -> tuple[date, date]:
    return today, today + timedelta(days=1)


def _week(today: date, _start: int) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday())
    return monday, monday + timedelta(days=7)


def _months(today: date, first_day: int, length: int) -> tuple[date, date]:
    index = today.year * 12 + today.month - 1 - (1 if today.day < first_day else 0)
    index -= index % length
    return _first_of(index, first_day), _first_of(index + length, first_day)


def _first_of(month_index: int, first_day: int) -> date:
    return date(month_index // 12, month_index % 12 + 1, first_day)


_BOUNDS: Final[dict[str, Callable[[date, int], tuple[date, date]]]] = {
    "day": _day,
    "week": _week,
    "month": lambda today, first_day: _months(today, first_day, 1),
    "quarter": lambda today, first_day: _months(today, first_day, 3),
    "year": lambda today, first_day: _months(today, first_day, 12),
}
