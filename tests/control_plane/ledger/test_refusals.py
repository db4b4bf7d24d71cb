"""What was refused, and what shadow mode would have refused: counted, in the REST API and in the admin."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.test import Client

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import RefusalCount, UsageEvent
from control_plane.ledger.tasks import keep_missed_refusals, keep_refusals
from tests.control_plane.cast import Api
from tests.control_plane.ledger.test_pages import text_of
from tests.control_plane.ledger.traffic import Traffic, store_at
from tests.servers import eventually

RPM = "team limit of requests per minute"
MONEY = "team monthly budget"
HOUR_MS = 3_600_000
PAGE = "/admin/ledger/refusalcount/"


@pytest.fixture
def pages(api: Api) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(api.user)
    return client


def this_hour_ms() -> int:
    return time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS


def kept(traffic: Traffic) -> list[int]:
    """The counts of refusals in the ledger."""
    return list(RefusalCount.objects.filter(organization=traffic.slug).values_list("calls", flat=True))


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


def test_a_flood_of_refusals_is_sampled_and_counted_to_the_last(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    api.limit(amount=1)
    traffic.call()
    refused = 0

    def is_flooded() -> bool:
        nonlocal refused
        traffic.flood(300)
        refused += 300
        keep_refusals()
        return bool(kept(traffic))

    eventually(is_flooded, "more than a hundred in a second")
    consumer.drain()

    assert UsageEvent.objects.filter(kind="refused").count() < refused
    assert api.get("refusals") == [{"rule": RPM, "team": "search", "calls": refused}]
    for keep in (keep_refusals, keep_missed_refusals):
        keep()
        assert api.get("refusals") == [{"rule": RPM, "team": "search", "calls": refused}]


def test_counts_that_redis_has_lost_stay(traffic: Traffic, redis_address: str) -> None:
    def counted(calls: int) -> list[int]:
        with redis.Redis.from_url(redis_address) as client:
            client.hset(f"bursar:{{{traffic.slug}}}:refused:{this_hour_ms()}", f"search|{RPM}", str(calls))
        keep_refusals()
        return kept(traffic)

    assert [counted(calls) for calls in (500, 7, 501)] == [[500], [500], [501]]


def test_what_nobody_kept_in_time_is_kept_as_long_as_redis_knows_it(traffic: Traffic, redis_address: str) -> None:
    with redis.Redis.from_url(redis_address) as client:
        client.hset(f"bursar:{{{traffic.slug}}}:refused:{this_hour_ms() - 40 * HOUR_MS}", f"search|{RPM}", "3")

    keep_refusals()
    assert kept(traffic) == []

    keep_missed_refusals()
    row = RefusalCount.objects.get(organization=traffic.slug)
    assert (row.team, row.refusing_scope, row.calls) == ("search", RPM, 3)
    assert row.hour.timestamp() * 1000 == this_hour_ms() - 40 * HOUR_MS


def test_refusals_are_told_of_a_span(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    api.limit(amount=0)
    traffic.refused()
    consumer.drain()
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=40)).replace(minute=0, second=0, microsecond=0)
    RefusalCount(organization=traffic.slug, hour=long_ago, team="support", refusing_scope=RPM, calls=7).save()
    between = f"{now - timedelta(days=3):%Y-%m-%d}"

    assert api.get(f"refusals?from={between}") == [{"rule": RPM, "team": "search", "calls": 1}]
    assert api.get(f"refusals?to={between}") == [{"rule": RPM, "team": "support", "calls": 7}]


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
    assert f"{RPM} search 3 $0.000000021, 1 of them an unknown amount" in shadow
    assert f"{RPM} support 1 $0.0000003" in shadow
    assert "Nothing in shadow mode" in text_of(pages, PAGE, mode="shadow", span="last-month")
