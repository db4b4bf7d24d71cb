"""A call without a price gets one as soon as there is one, and ledger, sums and Redis agree on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, Final

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from control_plane.catalog.price_book import set_price
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.models import UsageEvent
from control_plane.ledger.reconciliation import first_difference
from control_plane.ledger.repricing import reprice, reprice_all
from control_plane.ledger.selectors import spend_by
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic, store_at

# A nano-dollar a token of input, ten of output.
PER_TOKEN: Final[dict[str, Any]] = {
    "input_nusd": 10**6,
    "cache_read_nusd": 0,
    "cache_write_nusd": 5 * 10**6,
    "output_nusd": 10**7,
}


@pytest.fixture
def deployment(api: Api) -> int:
    """A deployment without a price, under a budget that counts and does not refuse."""
    api.team()
    api.budget(amount=10**10, hard=False)
    return int(api.deployment(price=None)["id"])


def unpriced(traffic: Traffic, deployment: int, **facts: Any) -> str:
    usual = {"deployment": str(deployment), "quality": "unpriced", "service_tier": "standard"}
    return traffic.call(amount_nusd=None, **(usual | facts))


def corrections(traffic: Traffic, request_id: str) -> list[tuple[Any, ...]]:
    found = UsageEvent.objects.filter(organization=traffic.slug, request_id=request_id, kind="adjusted").order_by("id")
    return list(found.values_list("outcome", "amount_nusd", "quality"))


def books_agree(traffic: Traffic) -> bool:
    aggregate_stale_days()
    return first_difference(traffic.organization) is None


def sums(traffic: Traffic, *, start: datetime | None = None) -> tuple[int, int, int]:
    """What the team has spent, on how many calls, of how many of which it is not known."""
    [spend] = spend_by(traffic.slug, "team", start=start, end=None, zone=traffic.organization.zone)
    return spend.amount_nusd, spend.requests, spend.unpriced


def test_a_call_without_a_price_is_corrected_once_there_is_one_and_all_books_agree(
    traffic: Traffic, consumer: Consumer, deployment: int
) -> None:
    request_id = unpriced(traffic, deployment, input_tokens=100, cache_read_tokens=40, output_tokens=7)
    priced = traffic.call(amount_nusd=1_000)
    consumer.drain()
    assert (reprice(traffic.organization), sums(traffic)) == (0, (1_000, 2, 1))

    row = set_price(deployment, PER_TOKEN, actor="alice")
    assert reprice(traffic.organization) == 1

    assert corrections(traffic, request_id) == [("repriced", 60 + 70, "exact")]
    assert corrections(traffic, priced) == []
    assert UsageEvent.objects.get(request_id=request_id, kind="adjusted").price_version == row.version
    an_hour_ago = timezone.now() - timedelta(hours=1)
    assert sums(traffic) == sums(traffic, start=an_hour_ago) == (1_130, 2, 0)
    assert books_agree(traffic)
    assert reprice(traffic.organization) == 0


def test_the_price_is_that_of_the_calls_own_instant_tier_and_pieces(
    traffic: Traffic, consumer: Consumer, api: Api, deployment: int
) -> None:
    facts = {"service_tier": "priority", "units": {"web_search": 3}, "input_tokens": 10, "output_tokens": 0}
    request_id = unpriced(traffic, deployment, **facts)
    untold = unpriced(traffic, deployment, **(facts | {"service_tier": "fast"}))
    consumer.drain()
    double = {name: 2 * rate for name, rate in PER_TOKEN.items()}
    tiered = PER_TOKEN | {"variants": [{"service_tier": "priority", "unit_nusd": {"web_search": 10**6}, **double}]}
    set_price(deployment, tiered, actor="alice", effective_from=datetime(2020, 1, 1, tzinfo=UTC))
    set_price(deployment, PER_TOKEN, actor="alice", effective_from=datetime(2100, 1, 1, tzinfo=UTC))
    api.create("discounts", percent="50", effective_from="2020-01-01T00:00:00Z")

    assert reprice(traffic.organization) == 1

    assert corrections(traffic, request_id) == [("repriced", 10 + 2, "exact")]
    assert corrections(traffic, untold) == []
    assert books_agree(traffic)


def test_where_only_the_bound_of_the_input_is_known_it_is_charged_as_a_bound(
    traffic: Traffic, consumer: Consumer, deployment: int
) -> None:
    request_id = unpriced(traffic, deployment, input_tokens=100, input_bound_tokens=100, output_tokens=1)
    consumer.drain()
    set_price(deployment, PER_TOKEN, actor="alice")

    reprice(traffic.organization)

    assert corrections(traffic, request_id) == [("repriced", 500 + 10, "upper_bound")]


def test_a_truth_that_comes_after_the_price_is_corrected_by_the_difference(
    traffic: Traffic, consumer: Consumer, deployment: int, redis_address: str
) -> None:
    an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
    before = Traffic(store_at(redis_address, an_hour_ago), traffic.organization)
    facts: dict[str, Any] = {"deployment": str(deployment), "quality": "unpriced", "input_bound_tokens": 60}
    request_id = before.hold(unpriced=True, **facts)
    traffic.store.expire_due(traffic.slug, most=10)
    consumer.drain()
    set_price(deployment, PER_TOKEN, actor="alice")
    assert reprice(traffic.organization) == 1
    assert corrections(traffic, request_id) == [("repriced", 5 * 60 + 10 * 40, "upper_bound")]

    traffic.post(request_id, amount_nusd=None, input_tokens=50, output_tokens=3, **facts)
    consumer.drain()
    assert reprice(traffic.organization) == 1

    amounts = [amount for _, amount, _ in corrections(traffic, request_id)]
    assert sum(amounts) == 50 + 30
    assert corrections(traffic, request_id)[-1][0] == "corrected"
    assert sums(traffic) == (80, 1, 0)
    assert books_agree(traffic)
    assert reprice(traffic.organization) == 0


def test_two_workers_at_once_correct_each_call_once(traffic: Traffic, consumer: Consumer, deployment: int) -> None:
    for _ in range(3):
        unpriced(traffic, deployment)
    consumer.drain()
    set_price(deployment, PER_TOKEN, actor="alice")

    all_at_once([reprice_all, reprice_all])

    assert UsageEvent.objects.filter(outcome="repriced").count() == 3
    assert sums(traffic) == (3 * (10 + 50), 3, 0)
    assert books_agree(traffic)


def test_while_redis_is_away_nothing_is_corrected_and_afterwards_everything(
    traffic: Traffic,
    consumer: Consumer,
    deployment: int,
    redis_away: Callable[[], AbstractContextManager[None]],
) -> None:
    request_id = unpriced(traffic, deployment)
    consumer.drain()
    set_price(deployment, PER_TOKEN, actor="alice")

    with redis_away():
        reprice_all()
        with pytest.raises(CommandError, match="Redis cannot be reached"):
            call_command("reprice")
    assert corrections(traffic, request_id) == []

    out = StringIO()
    call_command("reprice", stdout=out)
    assert f"{traffic.slug}: 1 corrections" in out.getvalue()
    assert books_agree(traffic)
