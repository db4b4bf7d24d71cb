"""What was refused, and what shadow mode would have refused: counted, in the REST API and in the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import RefusalCount
from tests.control_plane.cast import Api
from tests.control_plane.ledger.test_pages import text_of
from tests.control_plane.ledger.traffic import Traffic, store_at

RPM = "team limit of requests per minute"
MONEY = "team monthly budget"
PAGE = "/admin/ledger/refusalcount/"


@pytest.fixture
def pages(api: Api) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(api.user)
    return client


def row(rule: str, team: str, calls: int, amount_nusd: int, unpriced: int = 0) -> dict[str, Any]:
    return {"rule": rule, "team": team, "calls": calls, "amount_nusd": amount_nusd, "unpriced": unpriced}


def shadow_calls(traffic: Traffic) -> None:
    """Calls that one shadow rule or two would have refused, and one that none would."""
    traffic.call(amount_nusd=1, shadow_refusals=[RPM])
    traffic.call(amount_nusd=20, shadow_refusals=[RPM, MONEY, RPM])
    traffic.call(amount_nusd=None, shadow_refusals=[RPM])
    traffic.call(amount_nusd=300, shadow_refusals=[RPM], team="support")
    traffic.call(amount_nusd=4_000)


def test_a_shadow_tells_how_many_calls_it_would_have_refused_and_what_they_cost(
    api: Api, traffic: Traffic, consumer: Consumer
) -> None:
    shadow_calls(traffic)
    consumer.drain()

    assert api.get("shadow-refusals") == [
        row(RPM, "search", 3, 21, unpriced=1),
        row(RPM, "support", 1, 300),
        row(MONEY, "search", 1, 20),
    ]


def test_a_call_that_expired_and_was_corrected_is_one_call_at_its_true_cost(
    api: Api, traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    at_ms = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    late = Traffic(store_at(redis_address, at_ms), traffic.organization).hold(shadow_refusals=[RPM])
    traffic.store.expire_due(traffic.slug)
    traffic.post(late, amount_nusd=1_200, shadow_refusals=[RPM])
    consumer.drain()

    assert api.get("shadow-refusals") == [row(RPM, "search", 1, 1_200)]
    assert api.get("shadow-refusals?from=2026-10-02") == []
    assert api.get("shadow-refusals?to=2026-10-01") == []
    assert len(api.get("shadow-refusals?from=2026-10-01&to=2026-10-02")) == 1


def test_refusals_are_those_in_the_ledger_and_those_beyond(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    api.limit(amount=1)
    traffic.call()
    for _ in range(2):
        traffic.refused()
    consumer.drain()
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for hour, team, calls in ((this_hour, "search", 500), (this_hour - timedelta(days=40), "support", 7)):
        beyond = RefusalCount(organization=traffic.slug, hour=hour, team=team, refusing_scope=RPM, calls=calls)
        beyond.save()

    assert api.get("refusals") == [
        {"rule": RPM, "team": "search", "calls": 502},
        {"rule": RPM, "team": "support", "calls": 7},
    ]
    assert api.get(f"refusals?to={this_hour - timedelta(days=3):%Y-%m-%d}") == [
        {"rule": RPM, "team": "support", "calls": 7}
    ]


@pytest.mark.parametrize("path", ["refusals", "shadow-refusals"])
@pytest.mark.parametrize("query", ["from=yesterday", "team=search", "from=2026-11-02&to=2026-11-01"])
def test_a_question_that_makes_no_sense_is_refused(api: Api, path: str, query: str) -> None:
    assert api.call("GET", f"{path}?{query}").status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["refusals", "shadow-refusals"])
def test_nobody_reads_without_a_token(path: str) -> None:
    assert Client().get(f"/api/v1/{path}").status_code == 401


def test_the_page_shows_both(api: Api, traffic: Traffic, consumer: Consumer, pages: Client) -> None:
    assert "Nothing was refused" in text_of(pages, PAGE)
    assert "Nothing in shadow mode" in text_of(pages, PAGE, mode="shadow", span="week")
    shadow_calls(traffic)
    api.team("support")
    api.limit(amount=0, subject="support")
    traffic.refused(team="support")
    consumer.drain()

    assert f"{RPM} support 1 " in text_of(pages, PAGE)
    shadow = text_of(pages, PAGE, mode="shadow")
    assert f"{RPM} search 3 $0.000000021, and 1 unknown amounts" in shadow
    assert f"{RPM} support 1 $0.0000003" in shadow
    assert "Nothing in shadow mode" in text_of(pages, PAGE, mode="shadow", span="last-month")
