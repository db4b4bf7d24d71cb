"""Local hours and days, and how events add up to them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.ledger.rows import event_row, hour_rows, hour_start, instant_of
from kong_plugins.llm.events import UsageEvent

BERLIN = ZoneInfo("Europe/Berlin")

instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zoned by Hypothesis
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
amounts = st.none() | st.integers(-(10**15), 10**15)


def event(at: datetime, *, amount_nusd: int | None = 1, team: str = "search", kind: str = "posted") -> UsageEvent:
    at_ms = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UsageEvent(
        id=f"{at_ms}:1",
        request_id=str(at_ms),
        kind=kind,  # type: ignore[arg-type]
        outcome="completed",
        organization="acme",
        team=team,
        key="key",
        seq=1,
        reserved_at_ms=at_ms,
        posted_at_ms=at_ms,
        amount_nusd=amount_nusd,
    )


@given(st.integers(0, 4_000_000_000_000))
def test_an_instant_keeps_its_milliseconds(at_ms: int) -> None:
    assert (instant_of(at_ms) - instant_of(0)) / timedelta(milliseconds=1) == at_ms


@given(instants, zones)
def test_every_instant_lies_in_the_local_hour_that_begins_before_it(at: datetime, zone: ZoneInfo) -> None:
    start = hour_start(at, zone)
    assert start <= at < start + timedelta(hours=2)
    assert start.astimezone(zone).hour == at.astimezone(zone).hour
    assert hour_start(start, zone) == start


@given(st.lists(st.tuples(instants, amounts, st.sampled_from(["search", "support"])), max_size=30), zones)
def test_sums_of_hours_keep_every_amount_and_every_call(
    calls: list[tuple[datetime, int | None, str]], zone: ZoneInfo
) -> None:
    rows = [event_row(event(at, amount_nusd=amount, team=team)) for at, amount, team in calls]
    hours = hour_rows(rows, zone)
    assert sum(hour["amount_nusd"] for hour in hours) == sum(amount or 0 for _, amount, _ in calls)
    assert sum(hour["requests"] for hour in hours) == len(calls)
    assert sum(hour["unpriced"] for hour in hours) == sum(amount is None for _, amount, _ in calls)
    assert len({(hour["hour"], hour["team"]) for hour in hours}) == len(hours)
    assert {hour["day"] for hour in hours} == {at.astimezone(zone).date() for at, _, _ in calls}


@pytest.mark.parametrize(
    ("at", "hour", "day"),
    [
        ("2026-10-25T00:30:00+02:00", "2026-10-24T22:00:00+00:00", date(2026, 10, 25)),
        ("2026-10-25T02:30:00+02:00", "2026-10-25T00:00:00+00:00", date(2026, 10, 25)),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T01:00:00+00:00", date(2026, 10, 25)),
        ("2026-10-25T23:59:59.999+01:00", "2026-10-25T22:00:00+00:00", date(2026, 10, 25)),
        ("2026-03-28T23:59:59.999+01:00", "2026-03-28T22:00:00+00:00", date(2026, 3, 28)),
        ("2026-03-29T00:00:00+01:00", "2026-03-28T23:00:00+00:00", date(2026, 3, 29)),
        ("2026-03-29T03:30:00+02:00", "2026-03-29T01:00:00+00:00", date(2026, 3, 29)),
    ],
)
def test_the_hours_and_days_of_a_clock_change(at: str, hour: str, day: date) -> None:
    [row] = hour_rows([event_row(event(datetime.fromisoformat(at)))], BERLIN)
    assert (row["hour"], row["day"]) == (datetime.fromisoformat(hour), day)


def test_hours_begin_where_the_local_clock_says_so() -> None:
    [row] = hour_rows([event_row(event(datetime(2026, 11, 1, 18, 40, tzinfo=UTC)))], ZoneInfo("Asia/Kolkata"))
    assert (row["hour"], row["day"]) == (datetime(2026, 11, 1, 18, 30, tzinfo=UTC), date(2026, 11, 2))


def test_a_correction_is_no_call() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    [row] = hour_rows([event_row(event(at, kind="adjusted", amount_nusd=-5))], BERLIN)
    assert (row["requests"], row["amount_nusd"]) == (0, -5)
