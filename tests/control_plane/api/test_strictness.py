"""What the REST API refuses to guess: every refusal is a 400 that names the field."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.teams.models import Team
from tests.control_plane.cast import PRICE, Api

TEAM = {"slug": "search", "name": "Search"}
MODEL = {"name": "m", "context_window_tokens": 100, "max_output_tokens": 10, "default_output_tokens": 1}
PROVIDER = {"name": "openai", "base_url": "https://api.example.com/v1", "credential": "sk"}
LIMIT = {"name": "l", "scope": "organization", "unit": "requests", "amount": 1, "window_seconds": 60}
BUDGET = {"name": "b", "scope": "organization", "period": "month", "amount": 1}

REFUSED: list[tuple[str, dict[str, Any], set[str | None]]] = [
    ("teams", TEAM | {"nmae": "x"}, {"nmae"}),
    ("teams", TEAM | {"created_at": "2026-01-01T00:00:00Z"}, {"created_at"}),
    ("teams", {"slug": "search"}, {"name"}),
    ("teams", TEAM | {"slug": "Search"}, {"slug"}),
    ("teams", TEAM | {"slug": "-search"}, {"slug"}),
    ("teams", TEAM | {"slug": "s:{other}"}, {"slug"}),
    ("teams", TEAM | {"slug": "s" * 64}, {"slug"}),
    ("teams", TEAM | {"name": "a\u0000b"}, {"name"}),
    ("teams", TEAM | {"name": "a\u001bb"}, {"name"}),
    ("teams", TEAM | {"tier": "gold"}, {"tier"}),
    ("teams", TEAM | {"models": ["unknown"]}, {"models"}),
    ("teams", TEAM | {"models": "gpt-4o"}, {"models"}),
    ("models", MODEL | {"max_output_tokens": 101}, {None}),
    ("models", MODEL | {"default_output_tokens": 11}, {None}),
    ("models", MODEL | {"default_output_tokens": 0}, {"default_output_tokens"}),
    ("models", MODEL | {"context_window_tokens": 10**9}, {"context_window_tokens"}),
    ("models", MODEL | {"context_window_tokens": 1.5}, {"context_window_tokens"}),
    ("models", MODEL | {"name": "a model"}, {"name"}),
    ("providers", PROVIDER | {"base_url": "ftp://api.example.com"}, {"base_url"}),
    ("providers", PROVIDER | {"base_url": "https://user:secret@api.example.com"}, {"base_url"}),
    ("providers", PROVIDER | {"credential": ""}, {"credential"}),
    ("providers", PROVIDER | {"credential": "two words"}, {"credential"}),
    ("providers", PROVIDER | {"credential": "sk\r\nx-admin: 1"}, {"credential"}),
    (
        "deployments",
        {"model": "unknown", "provider": "unknown", "provider_model": "x", "price": None},
        {"model", "provider"},
    ),
    ("keys", {"team": "unknown", "name": "x"}, {"team"}),
    ("limits", LIMIT | {"amount": -1}, {"amount"}),
    ("limits", LIMIT | {"amount": 9_000_000_000_000_001}, {"amount"}),
    ("limits", LIMIT | {"window_seconds": 0}, {"window_seconds"}),
    ("limits", LIMIT | {"window_seconds": 31 * 86_400 + 1}, {"window_seconds"}),
    ("limits", LIMIT | {"scope": "team", "subject": "unknown"}, {"subject"}),
    ("limits", LIMIT | {"scope": "key", "subject": "unknown"}, {"subject"}),
    ("limits", LIMIT | {"subject": "another-organization"}, {"subject"}),
    ("limits", LIMIT | {"model": "unknown"}, {"model"}),
    ("limits", LIMIT | {"provider": "unknown"}, {"provider"}),
    ("limits", LIMIT | {"tag": "a tag"}, {"tag"}),
    ("limits", LIMIT | {"tag": ""}, {"tag"}),
    ("budgets", BUDGET | {"provider": "unknown"}, {"provider"}),
    ("budgets", BUDGET | {"tag": "t" * 65}, {"tag"}),
    ("budgets", BUDGET | {"amount": -1}, {"amount"}),
    ("budgets", BUDGET | {"amount": 9_000_000_000_000_001}, {"amount"}),
    ("budgets", BUDGET | {"amount_usd": "1.00"}, {"amount_usd"}),
    ("budgets", BUDGET | {"period": "decade"}, {"period"}),
    ("budgets", BUDGET | {"thresholds_percent": [50, 50]}, {"thresholds_percent"}),
    ("budgets", BUDGET | {"thresholds_percent": [90, 50]}, {"thresholds_percent"}),
    ("budgets", BUDGET | {"thresholds_percent": [101]}, {"thresholds_percent.0"}),
    ("budgets", BUDGET | {"queue_seconds": -1}, {"queue_seconds"}),
    ("budgets", BUDGET | {"queue_seconds": 301}, {"queue_seconds"}),
    ("budgets", BUDGET | {"queue_seconds": 5, "shadow": True}, {"queue_seconds"}),
    ("budgets", BUDGET | {"queue_seconds": 5, "hard": False}, {"queue_seconds"}),
    ("budgets", BUDGET | {"degrade_at_percent": 0}, {"degrade_at_percent"}),
    ("budgets", BUDGET | {"degrade_at_percent": 101}, {"degrade_at_percent"}),
    ("budgets", BUDGET | {"degrade_at_percent": 80, "shadow": True}, {"degrade_at_percent"}),
    ("budgets", BUDGET | {"degrade_at_percent": 80, "hard": False}, {"degrade_at_percent"}),
    ("budgets", BUDGET | {"tier_shares_percent": {"experimental": 20}, "hard": False}, {"tier_shares_percent"}),
    ("budgets", BUDGET | {"tier_shares_percent": {"experimental": 99}}, {"tier_shares_percent"}),
    ("limits", LIMIT | {"queue_seconds": 1.5}, {"queue_seconds"}),
    ("limits", LIMIT | {"queue_seconds": 1, "shadow": True}, {"queue_seconds"}),
    ("limits", LIMIT | {"tier_shares_percent": {"gold": 20}}, {"tier_shares_percent"}),
    ("limits", LIMIT | {"tier_shares_percent": {"experimental": 101}}, {"tier_shares_percent.experimental"}),
    ("limits", LIMIT | {"tier_shares_percent": {"experimental": True}}, {"tier_shares_percent.experimental"}),
    ("limits", LIMIT | {"tier_shares_percent": None}, {"tier_shares_percent"}),
    ("limits", LIMIT | {"tier_shares_percent": [20]}, {"tier_shares_percent"}),
    (
        "limits",
        LIMIT | {"tier_shares_percent": {"critical": 0, "normal": 0, "experimental": 0}},
        {"tier_shares_percent"},
    ),
    ("budgets", {name: value for name, value in BUDGET.items() if name != "amount"}, {"amount"}),
]


@pytest.mark.parametrize(("kind", "fields", "named"), REFUSED)
def test_a_refusal_names_the_field(api: Api, kind: str, fields: dict[str, Any], named: set[str | None]) -> None:
    assert api.refused_fields("POST", kind, fields) == named
    assert api.get(kind)["results"] == []


@pytest.mark.parametrize("amount_usd", ["NaN", "Infinity", "-0.01", "0.0000000001", "9000000.01", "1e30", "ten", ""])
def test_an_amount_of_money_is_exact_and_bounded(api: Api, amount_usd: str) -> None:
    fields = {"name": "b", "scope": "organization", "period": "month", "amount_usd": amount_usd}

    assert api.refused_fields("POST", "budgets", fields) == {"amount_usd"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_has_no_such_numbers(api: Api, number: str) -> None:
    body = f'{{"name": "b", "scope": "organization", "period": "month", "amount": {number}}}'

    assert api.call("POST", "budgets", body).status_code == 400


def test_money_is_only_for_money(api: Api) -> None:
    fields = {"name": "b", "scope": "organization", "period": "month", "unit": "tokens", "amount_usd": "1"}

    assert api.refused_fields("POST", "budgets", fields) == {"amount_usd"}


@pytest.mark.parametrize("price", [{"output_usd_per_mtok": "-1"}, {"output_usd_per_mtok": "NaN"}, {"output": "1"}])
def test_a_price_is_whole_and_not_negative(api: Api, price: dict[str, str]) -> None:
    api.model()
    api.provider()
    fields = {"model": "gpt-4o-mini", "provider": "openai", "provider_model": "x", "price": PRICE | price}

    named = api.refused_fields("POST", "deployments", fields)

    assert named == {f"price.{name}" for name in price}


@pytest.mark.parametrize("body", ["", "[]", '"text"', "{", "null", "{'a': 1}"])
def test_a_body_that_is_no_object_is_refused(api: Api, body: str) -> None:
    answer = api.call("POST", "teams", body)

    assert answer.status_code == 400
    assert not Team.objects.exists()


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("teams/search", {"slug": "renamed"}),
        ("providers/openai", {"name": "renamed"}),
        ("models/gpt-4o-mini", {"name": "renamed"}),
        ("budgets/{budget}", {"period": "day"}),
        ("budgets/{budget}", {"unit": "tokens"}),
        ("budgets/{budget}", {"scope": "key"}),
        ("budgets/{budget}", {"subject": None}),
        ("limits/{limit}", {"window_seconds": 1}),
        ("limits/{limit}", {"unit": "tokens"}),
    ],
)
def test_what_counters_are_named_after_never_changes(api: Api, path: str, change: dict[str, Any]) -> None:
    api.team()
    api.deployment()
    ids = {"budget": api.budget()["id"], "limit": api.limit()["id"]}

    assert api.refused_fields("PATCH", path.format(**ids), change) == set(change)


def test_a_patch_may_repeat_what_never_changes(api: Api) -> None:
    api.team()

    assert api.change("teams/search", slug="search", name="Searching")["name"] == "Searching"


def test_a_filter_that_does_not_exist_is_refused(api: Api) -> None:
    assert api.refused_fields("GET", "teams?slgu=search", None) == {"slgu"}


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=cD14", "name=%00"])
def test_a_query_that_cannot_be_understood_is_the_callers_fault(api: Api, query: str) -> None:
    assert api.call("GET", f"teams?{query}").status_code in (400, 404)


def test_lists_go_page_by_page(api: Api) -> None:
    slugs = [api.team(f"team-{number}")["slug"] for number in range(5)]

    found = []
    path: str | None = "teams?page_size=2"
    while path:
        page = api.get(path)
        found += [row["slug"] for row in page["results"]]
        path = page["next"] and page["next"].split("/api/v1/")[1]

    assert found == slugs


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_nothing_is_replaced_or_deleted(api: Api, method: str) -> None:
    api.team()

    assert api.call(method, "teams/search", {}).status_code == 405
