"""Day sums: made of hours, at any time, as often as one likes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from django.db.models import Sum

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.models import DayRollup, DimensionHour, HourRollup, ModelDay, PairDay, TeamDay
from control_plane.ledger.reconciliation import first_difference
from tests.control_plane.ledger.traffic import Traffic, store_at


def call_at(redis_address: str, traffic: Traffic, at: str, amount_nusd: int) -> None:
    at_ms = int(datetime.fromisoformat(at).timestamp() * 1000)
    Traffic(store_at(redis_address, at_ms), traffic.organization).call(amount_nusd=amount_nusd)


def days_of(traffic: Traffic) -> dict[date, int]:
    rows = DayRollup.objects.filter(organization=traffic.slug).values_list("day").annotate(Sum("amount_nusd"))
    return dict(rows.order_by("day"))


@pytest.mark.parametrize(
    ("first", "last", "after", "day"),
    [
        ("2026-03-29T00:00:00+01:00", "2026-03-29T23:59:59.999+02:00", "2026-03-30T00:00:00+02:00", date(2026, 3, 29)),
        ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59.999+01:00", "2026-10-26T00:00:00+01:00", date(2026, 10, 25)),
        ("2028-02-29T00:00:00+01:00", "2028-02-29T23:59:59.999+01:00", "2028-03-01T00:00:00+01:00", date(2028, 2, 29)),
    ],
)
def test_a_day_of_23_or_25_hours_is_one_day(
    traffic: Traffic, consumer: Consumer, redis_address: str, first: str, last: str, after: str, day: date
) -> None:
    for at, amount_nusd in ((first, 1), (last, 10), (after, 100)):
        call_at(redis_address, traffic, at, amount_nusd)
    consumer.drain()

    aggregate_stale_days()

    assert days_of(traffic)[day] == 11
    assert sum(days_of(traffic).values()) == 111


def test_aggregating_again_changes_nothing_and_looks_at_nothing(traffic: Traffic, consumer: Consumer) -> None:
    traffic.call()
    consumer.drain()
    aggregate_stale_days()
    before = list(DayRollup.objects.filter(organization=traffic.slug).values())

    assert aggregate_stale_days() == 0
    assert list(DayRollup.objects.filter(organization=traffic.slug).values()) == before


def test_a_late_event_has_its_day_aggregated_again(traffic: Traffic, consumer: Consumer, redis_address: str) -> None:
    call_at(redis_address, traffic, "2026-10-25T12:00:00+01:00", 1)
    consumer.drain()
    aggregate_stale_days()
    call_at(redis_address, traffic, "2026-10-25T12:00:01+01:00", 20)
    call_at(redis_address, traffic, "2026-10-25T02:30:00+02:00", 300)
    consumer.drain()

    aggregate_stale_days()

    assert days_of(traffic) == {date(2026, 10, 25): 321}
    assert not HourRollup.objects.filter(organization=traffic.slug, is_in_day=False).exists()


def test_a_day_of_a_team_and_of_a_model_adds_up_all_keys_users_and_outcomes(
    traffic: Traffic, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=100, team="search", key="a-key", user="anna")
    traffic.call(amount_nusd=20, team="search", key="b-key", outcome="interrupted")
    traffic.call(amount_nusd=3, team="support", request_model="large", provider="other")
    traffic.void(traffic.hold(team="support"), team="support")
    for _ in range(2):
        consumer.drain()
        aggregate_stale_days()

        of_teams = TeamDay.objects.filter(organization=traffic.slug).order_by("team")
        of_models = ModelDay.objects.filter(organization=traffic.slug).order_by("request_model")
        sums = ("requests", "failed", "refused", "unpriced", "amount_nusd")
        assert list(of_teams.values_list("team", *sums)) == [
            ("search", 2, 1, 0, 0, 120),
            ("support", 1, 1, 0, 0, 3),
        ]
        assert list(of_models.values_list("request_model", "provider", *sums)) == [
            ("large", "other", 1, 0, 0, 0, 3),
            ("mini", "openai", 2, 2, 0, 0, 120),
        ]
        traffic.store.trim_events(traffic.slug)
        HourRollup.objects.filter(organization=traffic.slug).update(is_in_day=False)


@pytest.mark.parametrize("sums", [TeamDay, ModelDay, PairDay, DimensionHour])
def test_a_day_whose_coarse_sums_do_not_add_up_is_a_difference_in_the_books(
    traffic: Traffic, consumer: Consumer, sums: Any
) -> None:
    traffic.call(amount_nusd=100)
    consumer.drain()
    aggregate_stale_days()
    before = first_difference(traffic.organization)
    sums.objects.filter(organization=traffic.slug).update(amount_nusd=99)

    assert before is None
    assert "hours of 100 nano-USD, but a day of 99" in (first_difference(traffic.organization) or "")
