"""Spend and events over the REST API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.test import Client

from control_plane.api.services import issue_token
from control_plane.ledger.consumer import Consumer
from control_plane.teams.models import User
from control_plane.teams.services import create_organization
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic, store_at


@pytest.fixture
def at(traffic: Traffic, redis_address: str) -> Callable[[str], Traffic]:
    """The organization's traffic at an instant."""

    def traffic_at(instant: str) -> Traffic:
        at_ms = int(datetime.fromisoformat(instant).timestamp() * 1000)
        return Traffic(store_at(redis_address, at_ms), traffic.organization)

    return traffic_at


def spend(api: Api, **query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.get(f"spend?{urlencode(query)}")
    return rows


def events(api: Api, **query: str) -> list[str]:
    """The request ids of the events that the query finds."""
    return [event["request_id"] for event in api.get(f"events?{urlencode(query)}")["results"]]


def test_spend_is_told_by_team_the_dearest_first(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(team="search", amount_nusd=100, input_tokens=7, output_tokens=3)
    traffic.call(team="search", amount_nusd=100, input_tokens=7, output_tokens=3)
    traffic.call(team="support", amount_nusd=5_000, input_tokens=1, output_tokens=1)
    traffic.call(team="support", amount_nusd=None, input_tokens=1, output_tokens=1)
    traffic.void(traffic.hold(team="idle"), team="idle")
    consumer.drain()

    assert spend(api, group_by="team") == [
        {
            "team": "support",
            "amount_nusd": 5_000,
            "amount_usd": "0.000005",
            "requests": 2,
            "unpriced": 1,
            "input_tokens": 2,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": 2,
        },
        {
            "team": "search",
            "amount_nusd": 200,
            "amount_usd": "0.0000002",
            "requests": 2,
            "unpriced": 0,
            "input_tokens": 14,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": 6,
        },
    ]


def test_a_span_left_empty_is_no_span(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(team="search", amount_nusd=100)
    consumer.drain()

    assert api.get("spend?group_by=team&from=&to=") == spend(api, group_by="team")


def test_spend_by_key_names_the_key(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    traffic.call(key=key_id, amount_nusd=2)
    traffic.call(key="gone", amount_nusd=1)
    consumer.drain()

    rows = spend(api, group_by="key")

    assert [(row["key"], row["name"]) for row in rows] == [(key_id, "search-prod"), ("gone", None)]


def test_spend_by_user_and_model(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    traffic.call(user="alice", request_model="mini", amount_nusd=2)
    traffic.call(user=None, request_model="large", amount_nusd=1)
    consumer.drain()

    assert [(row["user"], row["amount_nusd"]) for row in spend(api, group_by="user")] == [("alice", 2), (None, 1)]
    assert [(row["model"], row["amount_nusd"]) for row in spend(api, group_by="model")] == [("mini", 2), ("large", 1)]


def test_a_correction_adds_money_and_no_request(
    api: Api, traffic: Traffic, at: Callable[[str], Traffic], consumer: Consumer
) -> None:
    request_id = at("2026-10-01T12:00:00Z").hold()
    traffic.store.expire_due(traffic.slug)
    traffic.post(request_id, amount_nusd=1_200)
    consumer.drain()

    [row] = spend(api, group_by="team")
    assert (row["amount_nusd"], row["requests"]) == (1_200, 1)


@pytest.mark.parametrize(
    ("first", "end", "amount_nusd"),
    [
        ("2026-10-25", "2026-10-26", 0b0110),
        ("2026-10-24", "2026-10-25", 0b0001),
        ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 0b0110),
        ("2026-10-24T22:00:00.001Z", "2026-10-25T22:59:59.999Z", 0b0000),
        ("2026-10-24T21:59:59.999Z", "2026-10-25T23:00:00.001Z", 0b1111),
        ("2026-10-25", "", 0b1110),
        ("", "2026-10-25", 0b0001),
        ("", "", 0b1111),
    ],
)
def test_from_is_inclusive_and_to_exclusive_to_the_millisecond(
    api: Api, at: Callable[[str], Traffic], consumer: Consumer, first: str, end: str, amount_nusd: int
) -> None:
    """Calls around the two midnights of a day of 25 hours in Berlin; each has a bit of its own."""
    at("2026-10-24T23:59:59.999+02:00").call(amount_nusd=0b0001)
    at("2026-10-25T00:00:00+02:00").call(amount_nusd=0b0010)
    at("2026-10-25T23:59:59.999+01:00").call(amount_nusd=0b0100)
    at("2026-10-26T00:00:00+01:00").call(amount_nusd=0b1000)
    consumer.drain()

    span = {name: text for name, text in (("from", first), ("to", end)) if text}
    assert sum(row["amount_nusd"] for row in spend(api, group_by="team", **span)) == amount_nusd


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "group_by"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "team", "from": "yesterday"}, "from"),
        ({"group_by": "team", "to": "2026-11-31"}, "to"),
        ({"group_by": "team", "from": "2026-11-01T00:00:00"}, "from"),
        ({"group_by": "team", "from": "2026-11-02", "to": "2026-11-02"}, "to"),
        ({"group_by": "team", "since": "2026-11-02"}, "since"),
        ({"group_by": ["team", "key"]}, "group_by"),
        ({"group_by": "team,team"}, "group_by"),
        ({"group_by": "team,"}, "group_by"),
        ({"group_by": "team,hour", "from": "2026-11-01T00:30:00Z"}, "group_by"),
        ({"group_by": "team", "format": "xml"}, "format"),
        ({"group_by": "team", "tag": ""}, "tag"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(api: Api, query: dict[str, Any], field: str) -> None:
    assert api.refused_fields("GET", f"spend?{urlencode(query, doseq=True)}", None) == {field}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/spend?group_by=team", "/api/v1/events"])
def test_nobody_reads_without_a_token(path: str) -> None:
    assert Client().get(path).status_code == 401


def test_another_organization_sees_nothing_of_it(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    traffic.call()
    consumer.drain()
    other = create_organization(slug=f"{traffic.slug}-x", name="Other", time_zone="UTC", actor="test")
    charlie = User.objects.create_user("charlie")
    _, token = issue_token(user_id=charlie.pk, organization_id=other.pk, name="charlie")
    outsider = Api(organization=other, user=charlie, token=token, store=api.store)

    assert spend(outsider, group_by="team") == []
    assert events(outsider) == []


def test_events_come_newest_first_in_pages(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    request_ids = [traffic.call() for _ in range(7)]
    consumer.drain()

    found: list[str] = []
    query: str | None = "page_size=3"
    while query is not None:
        page = api.get(f"events?{query}")
        assert len(page["results"]) <= 3
        found += [event["request_id"] for event in page["results"]]
        query = page["next"] and urlsplit(page["next"]).query

    assert found == request_ids[::-1]


def test_an_event_is_shown_whole_and_what_is_absent_is_null(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    request_id = traffic.call(amount_nusd=None, user="alice")
    consumer.drain()

    [event] = api.get("events")["results"]

    assert (event["id"], event["request_id"], event["kind"]) == (f"{request_id}:1", request_id, "posted")
    assert (event["user"], event["amount_nusd"], event["region"], event["tags"]) == ("alice", None, None, [])
    assert datetime.fromisoformat(event["reserved_at"]).tzinfo == UTC
    assert "organization" not in event


def test_events_are_found_by_what_they_are_about(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    wanted = traffic.call(team="search", key="key-a")
    other = traffic.call(team="support", key="key-b")
    voided = traffic.hold(team="search")
    traffic.void(voided, team="search")
    consumer.drain()

    assert events(api, request_id=wanted) == [wanted]
    assert events(api, team="search") == [voided, wanted]
    assert events(api, team="search", kind="posted") == [wanted]
    assert events(api, key="key-b") == [other]
    assert events(api, key="nobody's") == []
    first_of_month = f"{datetime.now(UTC):%Y-%m-01}"
    assert len(events(api, **{"from": first_of_month})) == 3
    assert events(api, to=first_of_month) == []


def test_events_are_found_by_what_befell_them(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    usual = traffic.call()
    degraded = traffic.call(degraded_from="large", candidates=["large-at-openai: team monthly budget", "mini"])
    shadowed = traffic.call(shadow_refusals=["team limit of requests per minute"], queued_ms=1_500)
    consumer.drain()

    assert events(api, degraded="true") == [degraded]
    assert events(api, degraded="false") == [shadowed, usual]
    assert events(api, shadow_refused="true") == [shadowed]
    assert events(api, shadow_refused="false", degraded="false") == [usual]
    [event] = api.get(f"events?request_id={shadowed}")["results"]
    assert (event["shadow_refusals"], event["queued_ms"]) == (["team limit of requests per minute"], 1_500)
    assert event["degraded_from"] is None
    [event] = api.get(f"events?request_id={degraded}")["results"]
    assert (event["degraded_from"], event["queued_ms"], event["shadow_refusals"]) == ("large", None, [])


@pytest.mark.parametrize(
    "query",
    [{"degraded": "yes"}, {"shadow_refused": ""}, {"kind": "odd"}, {"from": "x"}, {"colour": "red"}, {"team": "nul\0"}],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(api: Api, query: dict[str, str]) -> None:
    assert api.refused_fields("GET", f"events?{urlencode(query)}", None) == set(query)
