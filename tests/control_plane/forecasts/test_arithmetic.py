"""When a cap is reached at a constant rate: the very first millisecond, in every time zone on the right day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.forecasts.arithmetic import Course, Step, local_date, steps_of
from kong_plugins.llm.windows import period_at

AMOUNTS = st.integers(0, 9_000_000_000_000_000)
INSTANTS = st.integers(946_684_800_000, 4_102_444_800_000)
DAY_MS = 86_400_000
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime"})).map(ZoneInfo)


@st.composite
def courses(draw: st.DrawFn) -> Course:
    return Course(
        at_ms=draw(INSTANTS), spent=draw(AMOUNTS), used=draw(AMOUNTS), window_ms=draw(st.integers(DAY_MS, 7 * DAY_MS))
    )


def has_spent(course: Course, cap: int, at_ms: int) -> bool:
    """Whether so much is spent at an instant, without a division."""
    return (course.spent - cap) * course.window_ms + course.used * (at_ms - course.at_ms) >= 0


@given(course=courses(), cap=AMOUNTS)
def test_a_cap_is_reached_at_the_first_instant_at_which_so_much_is_spent(course: Course, cap: int) -> None:
    reached_ms = course.reaches_ms(cap)

    if reached_ms is None:
        assert course.used == 0
        assert course.spent < cap
    else:
        assert has_spent(course, cap, reached_ms)
        assert reached_ms == course.at_ms or not has_spent(course, cap, reached_ms - 1)


@given(
    course=courses(),
    cap=AMOUNTS,
    extensions=st.lists(st.tuples(st.integers(1, 10**15), st.integers(-5 * DAY_MS, 40 * DAY_MS)), max_size=4),
    length_ms=st.integers(1, 31 * DAY_MS),
)
def test_extensions_count_until_their_instant_and_no_longer(
    course: Course, cap: int, extensions: list[tuple[int, int]], length_ms: int
) -> None:
    end_ms = course.at_ms + length_ms
    added = [(amount, course.at_ms + until_ms) for amount, until_ms in extensions]

    steps = steps_of(cap, added, at_ms=course.at_ms, end_ms=end_ms)
    exceeds_ms = course.exceeds_ms(steps)

    def cap_at(at_ms: int) -> int:
        return cap + sum(amount for amount, until_ms in added if at_ms < until_ms)

    assert steps[-1].until_ms == end_ms
    if exceeds_ms is None:
        assert not has_spent(course, cap_at(end_ms - 1), end_ms - 1)
    else:
        assert course.at_ms <= exceeds_ms < end_ms
        assert has_spent(course, cap_at(exceeds_ms), exceeds_ms)
        if exceeds_ms > course.at_ms:
            assert not has_spent(course, cap_at(exceeds_ms - 1), exceeds_ms - 1)


@pytest.mark.parametrize(
    ("spent", "used", "steps", "days"),
    [
        (0, 10, [Step(100, 20 * DAY_MS)], 10),
        (0, 10, [Step(100, 10 * DAY_MS)], None),
        (95, 10, [Step(100, 20 * DAY_MS)], 0.5),
        (120, 10, [Step(150, 2 * DAY_MS), Step(100, 20 * DAY_MS)], 2),
        (120, 0, [Step(150, 2 * DAY_MS), Step(100, 20 * DAY_MS)], 2),
        (50, 0, [Step(100, 20 * DAY_MS)], None),
    ],
)
def test_when_a_cap_is_reached(spent: int, used: int, steps: list[Step], days: float | None) -> None:
    course = Course(at_ms=0, spent=spent, used=used, window_ms=DAY_MS)

    assert course.exceeds_ms(steps) == (None if days is None else days * DAY_MS)


@given(at_ms=INSTANTS, zone=ZONES)
def test_the_day_is_that_of_the_organization(at_ms: int, zone: ZoneInfo) -> None:
    day = local_date(datetime.fromtimestamp(at_ms / 1000, UTC), zone)

    assert period_at("day", at_ms, zone).name == f"day-{day.isoformat()}"


def test_an_instant_falls_on_different_days() -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)

    assert local_date(midnight, ZoneInfo("America/New_York")) == date(2026, 2, 28)
    assert local_date(midnight, ZoneInfo("Pacific/Auckland")) == date(2026, 3, 1)
