"""Spend by several things at once, from whichever table can tell: hours, days and events give the same sums."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from itertools import combinations
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.models import HourRollup
from control_plane.ledger.reconciliation import first_difference
from control_plane.ledger.spend import GROUPS, GroupBy, Question, has_more_groups, spent
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic, store_at

# Each call has a bit of its own, so that a sum says which calls are in it.
CALLS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("2026-10-24T23:30:00+02:00", {"team": "search", "key": "a", "tags": ["prod"]}),
    ("2026-10-25T02:30:00+02:00", {"team": "search", "key": "a", "tags": ["prod", "chat"], "user": "alice"}),
    ("2026-10-25T02:30:00+01:00", {"team": "search", "key": "b", "user": "=SUM(A1)"}),
    ("2026-10-25T23:30:00+01:00", {"team": "support", "key": "c", "tags": ["chat", "prod"], "request_model": "large"}),
    ("2026-10-26T12:00:00+01:00", {"team": "support", "key": "c", "tags": ["chat"], "provider": "azure"}),
]


@pytest.fixture
def calls(traffic: Traffic, consumer: Consumer, redis_address: str) -> Callable[[int], None]:
    """Has these calls happen, from the first or from another on."""

    def happen(first: int = 0) -> None:
        for number, (at, facts) in enumerate(CALLS[first:], first):
            at_ms = int(datetime.fromisoformat(at).timestamp() * 1000)
            Traffic(store_at(redis_address, at_ms), traffic.organization).call(amount_nusd=1 << number, **facts)
        consumer.drain()

    return happen


def spend(api: Api, **query: str) -> dict[tuple[Any, ...], int]:
    """The nano-USD of each group."""
    names = query["group_by"].split(",")
    rows = api.get(f"spend?{urlencode(query)}")
    found = {tuple(row[name] for name in names): row["amount_nusd"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"group_by": "tag"}, {("prod",): 0b01011, ("chat",): 0b11010, (None,): 0b00100}),
        ({"group_by": "provider"}, {("openai",): 0b01111, ("azure",): 0b10000}),
        ({"group_by": "day"}, {("2026-10-24",): 0b00001, ("2026-10-25",): 0b01110, ("2026-10-26",): 0b10000}),
        (
            {"group_by": "hour", "from": "2026-10-25", "to": "2026-10-25T12:00:00Z"},
            {("2026-10-25T02:00:00+02:00",): 0b00010, ("2026-10-25T02:00:00+01:00",): 0b00100},
        ),
        (
            {"group_by": "team,tag", "from": "2026-10-25"},
            {
                ("search", "prod"): 0b00010,
                ("search", "chat"): 0b00010,
                ("search", None): 0b00100,
                ("support", "chat"): 0b11000,
                ("support", "prod"): 0b01000,
            },
        ),
        ({"group_by": "day", "tag": "prod", "team": "search"}, {("2026-10-24",): 0b00001, ("2026-10-25",): 0b00010}),
        ({"group_by": "user", "user": ""}, {(None,): 0b11001}),
        ({"group_by": "day", "from": "2026-10-25T01:00:00Z", "to": "2026-10-26"}, {("2026-10-25",): 0b01100}),
        ({"group_by": "day", "from": "2026-10-25T00:30:00.001Z"}, {("2026-10-25",): 0b01100, ("2026-10-26",): 0b10000}),
        ({"group_by": "model,key", "model": "large"}, {("large", "c"): 0b01000}),
    ],
)
def test_spend_is_told_by_any_group_of_any_calls_before_and_after_days_are_added_up(
    api: Api, calls: Callable[..., None], query: dict[str, str], expected: dict[tuple[Any, ...], int]
) -> None:
    calls()
    assert spend(api, **query) == expected

    aggregate_stale_days()
    assert spend(api, **query) == expected


def test_a_day_that_was_added_up_before_its_last_call_is_whole_all_the_same(
    api: Api, calls: Callable[..., None]
) -> None:
    calls()
    aggregate_stale_days()
    calls(3)

    expected = {("2026-10-24",): 0b00001, ("2026-10-25",): 0b10110, ("2026-10-26",): 0b100000}
    assert spend(api, group_by="day") == expected


def test_groups_of_every_kind_agree_and_none_costs_a_query_a_row(api: Api, calls: Callable[..., None]) -> None:
    calls()
    # The first call of an hour writes down that the token was used.
    spend(api, group_by="team")
    queries = set()
    found = {}
    for names in (*combinations(GROUPS, 1), *combinations(GROUPS, 2), GROUPS):
        with CaptureQueriesContext(connection) as captured:
            found[names] = spend(api, group_by=",".join(names))
        queries.add(len(captured))
        if "tag" not in names:
            assert sum(found[names].values()) == 0b11111
    # Who calls, how many groups there are, the sums of days and of hours, which days are stale, and the names of keys.
    assert max(queries) == 6

    aggregate_stale_days()
    assert {names: spend(api, group_by=",".join(names)) for names in found} == found


@pytest.mark.parametrize("group_by", [("team",), ("key", "hour"), ("tag",), ("user", "provider"), ("hour",)])
def test_a_look_at_some_of_the_charges_says_when_there_are_too_many_groups(
    api: Api, calls: Callable[..., None], group_by: tuple[GroupBy, ...]
) -> None:
    calls()
    aggregate_stale_days()
    slug, zone = api.organization.slug, api.organization.zone
    question = Question(organization=slug, zone=zone, group_by=group_by, sees_all=True)
    groups = len(list(spent(question)))

    assert groups > 1
    assert has_more_groups(question, groups - 1)
    assert not has_more_groups(question, groups)


def test_time_comes_first_then_the_dearest(api: Api, calls: Callable[..., None]) -> None:
    calls()

    rows = api.get("spend?group_by=key,day")

    assert [(row["day"], row["key"]) for row in rows] == [
        *(("2026-10-24", "a"), ("2026-10-25", "c"), ("2026-10-25", "b"), ("2026-10-25", "a")),
        ("2026-10-26", "c"),
    ]


def test_a_csv_has_the_same_rows_and_nothing_that_a_spreadsheet_runs(api: Api, calls: Callable[..., None]) -> None:
    calls()

    answer = api.call("GET", "spend?group_by=user,key&format=csv")

    assert (answer.status_code, answer["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer["content-disposition"] == 'attachment; filename="spend.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [(row["user"], row["key"], row["amount_nusd"], row["amount_usd"]) for row in rows] == [
        ("", "a", "1", "0.000000001"),
        ("", "c", "24", "0.000000024"),
        ("'=SUM(A1)", "b", "4", "0.000000004"),
        ("alice", "a", "2", "0.000000002"),
    ]


def test_sums_from_before_there_were_tags_are_split_by_the_events_behind_them(
    api: Api, calls: Callable[..., None]
) -> None:
    calls()
    aggregate_stale_days()
    with_tags = spend(api, group_by="tag,day")
    HourRollup.objects.filter(tags__len__gt=0).update(tags=[])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_dayrollup")
    HourRollup.objects.update(is_in_day=True)

    with connection.cursor() as cursor:
        cursor.execute(import_module("control_plane.ledger.migrations.0008_sums_by_tag")._SPLIT_BY_TAGS)

    assert spend(api, group_by="tag,day") == with_tags
    aggregate_stale_days()
    assert spend(api, group_by="tag,day") == with_tags
    assert first_difference(api.organization) is None
