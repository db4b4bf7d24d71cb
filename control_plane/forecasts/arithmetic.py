"""When a cap is reached at a constant rate. Everything is an exact integer; weekdays and trends are not considered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Step(NamedTuple):
    """A cap that is in force until an instant, in Unix milliseconds."""

    cap: int
    until_ms: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """How spending goes: `spent` at the instant `at_ms`, and `used` in each `window_ms`."""

    at_ms: int
    spent: int
    used: int
    window_ms: int

    def reaches_ms(self, cap: int) -> int | None:
        """The first instant, not before `at_ms`, at which so much is spent; None for never."""
        missing = cap - self.spent
        if missing <= 0:
            return self.at_ms
        return self.at_ms - (-missing * self.window_ms // self.used) if self.used > 0 else None

    def exceeds_ms(self, steps: Iterable[Step]) -> int | None:
        """The first instant at which spent reaches the cap that is in force then; None for not within these steps."""
        begins_ms = self.at_ms
        for cap, until_ms in steps:
            reaches_ms = self.reaches_ms(cap)
            if reaches_ms is not None and max(reaches_ms, begins_ms) < until_ms:
                return max(reaches_ms, begins_ms)
            begins_ms = max(begins_ms, until_ms)
        return None


def steps_of(cap: int, extensions: Iterable[tuple[int, int]], *, at_ms: int, end_ms: int) -> list[Step]:
    """The caps from an instant to the period's end, of which each extension, (amount, until), is a part for a while."""
    running = [(amount, until_ms) for amount, until_ms in extensions if until_ms > at_ms]
    ends = sorted({min(until_ms, end_ms) for _, until_ms in running} | {end_ms})
    return [Step(cap + sum(amount for amount, until_ms in running if until_ms >= end), end) for end in ends]


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """The day on which an instant falls in a time zone."""
    return at.astimezone(zone).date()
