"""Periods: in every time zone they follow each other without a gap, and each instant lies in its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.windows import END_OF_TIME_MS, PeriodKind, next_period, period_at

HOUR_MS = 3_600_000
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime"})).map(ZoneInfo)
KINDS = st.sampled_from(get_args(PeriodKind))
INSTANTS = st.integers(_2000 := 946_684_800_000, _2000 + 50 * 366 * 86_400_000)


def ms(*date: int, zone: str = "Europe/Berlin") -> int:
    return int(datetime(*date, tzinfo=ZoneInfo(zone)).timestamp()) * 1000  # type: ignore[misc, arg-type]


@given(kind=KINDS, at_ms=INSTANTS, zone=ZONES, first_day=st.integers(1, 28))
def test_every_instant_lies_in_one_period_and_the_next_begins_where_it_ends(
    kind: PeriodKind, at_ms: int, zone: ZoneInfo, first_day: int
) -> None:
    period = period_at(kind, at_ms, zone, fiscal_month_start=first_day)
    following = next_period(kind, period, zone, fiscal_month_start=first_day)

    assert period.start_ms <= at_ms < period.end_ms
    for inside_ms in (period.start_ms, period.end_ms - 1):
        assert period_at(kind, inside_ms, zone, fiscal_month_start=first_day) == period
    if kind == "total":
        assert following == period
    else:
        assert following.start_ms == period.end_ms
        assert following.name != period.name


@pytest.mark.parametrize(
    ("kind", "first_day", "start", "end", "name"),
    [
        ("day", 1, (2026, 3, 29), (2026, 3, 30), "day-2026-03-29"),
        ("week", 1, (2026, 3, 23), (2026, 3, 30), "week-2026-03-23"),
        ("month", 1, (2026, 3, 1), (2026, 4, 1), "month-2026-03-01"),
        ("month", 15, (2026, 3, 15), (2026, 4, 15), "month-2026-03-15"),
        ("quarter", 1, (2026, 1, 1), (2026, 4, 1), "quarter-2026-01-01"),
        ("quarter", 28, (2026, 1, 28), (2026, 4, 28), "quarter-2026-01-28"),
        ("year", 1, (2026, 1, 1), (2027, 1, 1), "year-2026-01-01"),
    ],
)
def test_a_period_is_one_of_the_calendar(
    kind: PeriodKind, first_day: int, start: tuple[int, ...], end: tuple[int, ...], name: str
) -> None:
    period = period_at(kind, ms(2026, 3, 29, 15), ZoneInfo("Europe/Berlin"), fiscal_month_start=first_day)

    assert (period.start_ms, period.end_ms, period.name) == (ms(*start), ms(*end), name)


def test_the_days_on_which_clocks_change_are_shorter_and_longer() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring, autumn = (period_at("day", ms(2026, *day, 12), berlin) for day in ((3, 29), (10, 25)))

    assert spring.end_ms - spring.start_ms == 23 * HOUR_MS
    assert autumn.end_ms - autumn.start_ms == 25 * HOUR_MS


def test_a_day_without_midnight_begins_when_the_clocks_change() -> None:
    zone = "America/Sao_Paulo"
    period = period_at("day", ms(2018, 11, 4, 12, zone=zone), ZoneInfo(zone))

    assert period.start_ms == int(datetime(2018, 11, 4, 3, tzinfo=UTC).timestamp()) * 1000


def test_a_total_has_no_end() -> None:
    period = period_at("total", ms(2026, 3, 29), ZoneInfo("UTC"))

    assert (period.name, period.start_ms, period.end_ms) == ("total", 0, END_OF_TIME_MS)
