"""Forecasts: from the ledger's sums to a date, a row, and an alert that is raised once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from control_plane.alerts.messages import alert_message
from control_plane.alerts.models import Alert, Delivery
from control_plane.budgets.models import Budget, BudgetPeriod
from control_plane.forecasts.models import Forecast
from control_plane.forecasts.services import forecast, forecast_everything
from control_plane.forecasts.tasks import forecast as task
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import HourRollup
from control_plane.ledger.rows import instant_of
from control_plane.releases.services import publish_at_start
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic

DAY = timedelta(days=1)


@pytest.fixture
def at() -> datetime:
    """The instant as of which is calculated: late enough for the hour in which the calls are made to be over."""
    return timezone.now() + timedelta(hours=1)


@pytest.fixture
def busy(api: Api, store: Store) -> Callable[..., int]:
    """Makes a budget that is a month old and has no end, and calls of this hour that use it; returns its id."""

    def make(calls: int = 10, amount_nusd: int = 7_000, call: dict[str, Any] | None = None, **fields: Any) -> int:
        usual = {"scope": "organization", "subject": None, "period": "total", "amount": 1_000_000}
        budget_id: int = api.budget(**(usual | fields))["id"]
        Budget.objects.update(created_at=F("created_at") - 30 * DAY)
        publish_at_start(api.organization.pk)
        traffic = Traffic(store, api.organization)
        for _ in range(calls):
            traffic.call(amount_nusd=amount_nusd, **(call or {}))
        Consumer(store, "the test's own").drain()
        return budget_id

    return make


def dates(api: Api, at: datetime) -> dict[str, datetime | None]:
    """When each subject's cap will be reached, calculated as of an instant."""
    forecast(api.organization, at)
    return dict(Forecast.objects.values_list("subject", "exceeds_at"))


def told() -> list[str]:
    return list(Alert.objects.exclude(kind="threshold").order_by("pk").values_list("kind", flat=True))


def test_at_this_rate_a_budget_will_be_used_up_on_a_day(api: Api, busy: Callable[..., int], at: datetime) -> None:
    budget_id = busy()
    zone = api.organization.zone

    # 70,000 a week, of which 930,000 are left.
    assert dates(api, at) == {api.organization.slug: instant_of(_ms(at)) + 93 * DAY}

    [shown] = api.get(f"forecasts?budget={budget_id}")["results"]
    assert shown["exceeds_on"] == (at + 93 * DAY).astimezone(zone).date().isoformat()
    assert (shown["cap"], shown["spent"], shown["per_day"], shown["unit"]) == (1_000_000, 70_000, 10_000, "nusd")
    assert (shown["budget_name"], shown["per_day_usd"]) == ("Search, monthly", "0.00001")


def test_a_forecast_is_one_row_that_is_brought_up_to_date(api: Api, busy: Callable[..., int], at: datetime) -> None:
    budget_id = busy()
    forecast(api.organization, at)
    api.change(f"budgets/{budget_id}", amount=2_000_000)

    assert dates(api, at) == {api.organization.slug: instant_of(_ms(at)) + 193 * DAY}
    api.change(f"budgets/{budget_id}", active=False)
    assert api.get("forecasts")["results"] == []


def test_what_is_not_reached_before_the_periods_end_has_no_date(
    api: Api, busy: Callable[..., int], at: datetime
) -> None:
    busy()
    BudgetPeriod.objects.update(ends_at_ms=_ms(at + 93 * DAY))
    assert dates(api, at) == {api.organization.slug: None}

    BudgetPeriod.objects.update(ends_at_ms=_ms(at + 93 * DAY) + 1)

    assert dates(api, at) == {api.organization.slug: instant_of(_ms(at)) + 93 * DAY}
    assert told() == ["forecast"]


def test_what_lies_more_than_a_year_ahead_is_not_foreseen(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy(amount=10_000_000)

    assert dates(api, at) == {api.organization.slug: None}


def test_of_a_younger_budget_the_rate_is_that_of_its_life(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy()
    hour = at.replace(minute=0, second=0, microsecond=0)
    Budget.objects.update(created_at=hour - 2 * DAY)

    # 70,000 in two days, of which 930,000 are left.
    assert dates(api, at) == {api.organization.slug: instant_of(_ms(at) - (-930 * 2 * _ms(instant_of(0) + DAY) // 70))}


def test_less_than_a_day_or_ten_calls_tell_no_rate(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy(calls=9)
    assert dates(api, at) == {}
    HourRollup.objects.update(requests=10)
    hour = at.replace(minute=0, second=0, microsecond=0)

    Budget.objects.update(created_at=hour - DAY + timedelta(microseconds=1))
    assert dates(api, at) == {}
    Budget.objects.update(created_at=hour - DAY)
    assert len(dates(api, at)) == 1


def test_what_is_used_up_already_is_no_forecast(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy(amount=70_000)

    assert dates(api, at) == {api.organization.slug: None}
    assert told() == []


def test_an_extension_counts_for_as_long_as_it_lasts(api: Api, busy: Callable[..., int], at: datetime) -> None:
    budget_id = busy(amount=80_000)
    until = (at + 2 * DAY).replace(microsecond=0)
    body = {"amount": 1_000_000, "expires_at": until.isoformat(), "reason": "A launch"}
    api.create(f"budgets/{budget_id}/extensions", **body)

    # 80,000 are reached tomorrow, but count again only when the extension ends.
    assert dates(api, at) == {api.organization.slug: until}


@pytest.mark.parametrize(
    ("fields", "call", "subject"),
    [
        ({"scope": "team", "subject": "search"}, {}, "search"),
        ({"scope": "team", "subject": None}, {}, "search"),
        ({"scope": "team", "subject": "search", "unit": "tokens", "amount": 300}, {}, "search"),
        ({"scope": "team", "subject": "search", "unit": "requests", "amount": 20}, {}, "search"),
        ({"scope": "team", "subject": "search", "provider": "openai"}, {}, "search"),
        ({"scope": "team", "subject": "search", "provider": "openai"}, {"provider": "other"}, None),
        ({"scope": "team", "subject": "search", "model": "gpt-4o-mini"}, {"request_model": "gpt-4o-mini"}, "search"),
        ({"scope": "team", "subject": "search", "model": "gpt-4o-mini"}, {}, None),
        ({"scope": "team", "subject": "search"}, {"team": "support"}, None),
    ],
)
def test_only_calls_that_fall_under_a_budget_tell_its_rate(
    api: Api,
    busy: Callable[..., int],
    at: datetime,
    fields: dict[str, Any],
    call: dict[str, Any],
    subject: str | None,
) -> None:
    api.team("search")
    api.team("support")
    api.deployment()

    busy(call=call, **fields)

    assert set(dates(api, at)) == ({subject} if subject else set())


def test_each_user_is_foreseen_with_the_cap_that_is_theirs(api: Api, busy: Callable[..., int], at: datetime) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="backend", speaks_for_users=True)["id"]
    mute_id = api.create("keys", team="search", name="mute")["id"]
    budget_id = busy(calls=0, scope="user", amount=100_000)
    body = {"subject": "alice", "amount": 40_000, "expires_at": (at + 300 * DAY).isoformat(), "reason": "x"}
    api.create(f"budgets/{budget_id}/extensions", **body)
    traffic = Traffic(api.store, api.organization)
    for _ in range(10):
        traffic.call(key=key_id, user="alice", amount_nusd=7_000)
        traffic.call(key=key_id, user="bob", amount_nusd=7_000)
        traffic.call(key=mute_id, user="charlie", amount_nusd=7_000)
    Consumer(api.store, "the test's own").drain()

    found = dates(api, at)

    assert found == {"alice": instant_of(_ms(at)) + 7 * DAY, "bob": instant_of(_ms(at)) + 3 * DAY}


def test_keys_with_a_tag_are_foreseen_from_their_events(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy(tag="prod", call={"tags": ["prod", "eu"]})

    # Whom a tag is about is decided at the gateway; here, the events alone matter.
    assert Forecast.objects.count() == 0
    assert set(dates(api, at)) == {api.organization.slug}


def test_a_date_is_told_once_and_once_more_when_it_comes_near(api: Api, busy: Callable[..., int], at: datetime) -> None:
    api.create("webhooks", url="http://127.0.0.1:9/hook")
    budget_id = busy()
    for _ in range(2):
        forecast(api.organization, at)
    assert told() == ["forecast"]

    api.change(f"budgets/{budget_id}", amount=89_999)
    for _ in range(2):
        forecast(api.organization, at)
    assert told() == ["forecast", "near_forecast"]

    api.change(f"budgets/{budget_id}", amount=1_000_000)
    forecast(api.organization, at)
    api.change(f"budgets/{budget_id}", amount=89_999)
    forecast(api.organization, at)
    assert told() == ["forecast", "near_forecast"]
    assert Delivery.objects.count() == 2


def test_a_date_that_is_near_when_it_first_appears_is_told_once(
    api: Api, busy: Callable[..., int], at: datetime
) -> None:
    budget_id = busy(amount=89_999)
    forecast(api.organization, at)
    api.change(f"budgets/{budget_id}", amount=1_000_000)
    forecast(api.organization, at)

    assert told() == ["near_forecast"]


def test_workers_who_foresee_at_once_tell_of_it_once(api: Api, busy: Callable[..., int], at: datetime) -> None:
    busy()

    all_at_once([partial(forecast, api.organization, at)] * 4)

    assert told() == ["forecast"]
    assert Forecast.objects.count() == 1


def test_a_webhook_is_told_the_day(api: Api, busy: Callable[..., int], at: datetime) -> None:
    api.team()
    api.create("webhooks", url="http://127.0.0.1:9/hook")
    busy(scope="team", subject="search")
    forecast(api.organization, at)

    message = alert_message(Alert.objects.get())

    row = Forecast.objects.get()
    day = row.exceeds_on
    assert day is not None
    for part in (
        '"type":"budget.exceeding_foreseen"',
        f'"exceeds_on":"{day.isoformat()}"',
        '"team":"search"',
        '"cap_nusd":1000000',
        '"spent_nusd":70000',
    ):
        assert part in message.body.decode()
    assert "percent" not in message.body.decode()
    assert message.event_id.endswith(":search:total:forecast")


def test_pages_show_the_day_beside_the_budget(api: Api, busy: Callable[..., int], at: datetime, pages: Client) -> None:
    api.create("webhooks", url="http://127.0.0.1:9/hook")
    budget_id = busy()
    forecast(api.organization, at)
    day = Forecast.objects.get().exceeds_on
    assert day is not None

    page = pages.get(f"/admin/budgets/budget/{budget_id}/change/").content.decode()
    listed = pages.get("/admin/budgets/budget/").content.decode()

    assert f"used up on {day.isoformat()}" in page
    assert "at $0.00001 a day" in page
    assert day.isoformat().replace("-", "\N{NON-BREAKING HYPHEN}") in listed
    assert f"Search, monthly used up on {day.isoformat()}" in pages.get("/admin/alerts/delivery/").content.decode()


def test_without_redis_nothing_is_foreseen_and_nothing_forgotten(
    api: Api,
    busy: Callable[..., int],
    at: datetime,
    redis_away: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    busy()
    before = dates(api, at)

    with redis_away(), caplog.at_level(logging.WARNING):
        forecast_everything(at + DAY)

    assert "nothing can be foreseen" in caplog.text
    assert dict(Forecast.objects.values_list("subject", "exceeds_at")) == before


def test_the_task_calculates_as_of_now(api: Api, busy: Callable[..., int]) -> None:
    busy()
    HourRollup.objects.update(hour=F("hour") - timedelta(hours=1))

    task()

    assert Forecast.objects.get().calculated_at <= timezone.now()


def _ms(at: datetime) -> int:
    return (at - instant_of(0)) // timedelta(milliseconds=1)
