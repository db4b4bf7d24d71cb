"""Spans of time as people name them, in an organization's time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

Days = tuple[date, date]


def instant_from(text: str, zone: ZoneInfo) -> datetime:
    """The first instant of an ISO date such as 2026-11-01 in the time zone, or an ISO instant with its offset.

    Raises:
        ValueError: the text is neither.
    """
    try:
        return day_start(date.fromisoformat(text), zone)
    except ValueError:
        instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant needs its offset from UTC")
    return instant


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day."""
    return datetime.combine(day, time.min, zone)


def this_month(today: date) -> Days:
    """The first day of the month, and that of the next."""
    first = today.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def last_month(today: date) -> Days:
    """The first day of the month before, and that of this one."""
    first = today.replace(day=1)
    return (first - timedelta(days=1)).replace(day=1), first


def last_seven_days(today: date) -> Days:
    """Today and the six days before it, the end exclusive."""
    return today - timedelta(days=6), today + timedelta(days=1)


SPANS: Final[dict[str, tuple[str, Callable[[date], Days]]]] = {
    "month": ("This month", this_month),
    "last-month": ("Last month", last_month),
    "week": ("7 days", last_seven_days),
}
