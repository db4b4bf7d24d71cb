"""An organization's calendar and its budgets: nothing that was spent is forgotten when months begin on another day."""

from __future__ import annotations

from datetime import datetime
from io import StringIO
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command

from control_plane.budgets.models import BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.reconciliation import first_difference
from control_plane.releases.services import publish_at_start, publish_changes
from control_plane.teams.models import Organization
from kong_plugins.llm.windows import PeriodKind, period_at
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic

# Where Berlin's month begins on the first, this one never does.
FISCAL: dict[str, Any] = {"fiscal_month_start": 15}


@pytest.fixture
def traffic(api: Api) -> Traffic:
    api.team()
    publish_at_start(api.organization.pk)
    return Traffic(api.store, api.organization)


def another_date(api: Api) -> dict[str, Any]:
    """A time zone where it is yesterday or tomorrow: these two are 26 hours apart."""
    today = datetime.now(api.organization.zone).date()
    zones = [ZoneInfo("Etc/GMT+12"), ZoneInfo("Etc/GMT-14")]
    return {"time_zone": next(zone.key for zone in zones if datetime.now(zone).date() != today)}


def change_of(api: Api, field: str) -> dict[str, Any]:
    return FISCAL if field == "fiscal_month_start" else another_date(api)


def running_name(api: Api, kind: PeriodKind) -> str:
    """The period that gateways count in now."""
    policy = api.policy()
    return period_at(kind, now_ms(), ZoneInfo(policy.time_zone), fiscal_month_start=policy.fiscal_month_start).name


@pytest.mark.parametrize(
    ("period", "field"),
    [
        *[("day", "time_zone"), ("week", "time_zone"), ("year", "time_zone")],
        *[("month", "fiscal_month_start"), ("quarter", "fiscal_month_start"), ("year", "fiscal_month_start")],
    ],
)
def test_a_spent_budget_stays_spent_since_its_calendar_does_not_change(
    api: Api, traffic: Traffic, period: str, field: str
) -> None:
    api.budget(name="Search's own", period=period, amount=5_000)
    traffic.call(amount_nusd=5_000)
    traffic.refused()
    before = api.policy()

    answer = api.call("PATCH", "organization", change_of(api, field))

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error == {
        "field": field,
        "message": "Active budgets are counted by this: Search's own. Switch them off first.",
    }
    assert api.policy() == before
    traffic.refused()


def test_of_many_budgets_that_keep_the_calendar_only_some_are_named(api: Api) -> None:
    api.team()
    for number in range(7):
        api.budget(name=f"b{number}")

    answer = api.call("PATCH", "organization", FISCAL)

    assert "b0, b1, b2, b3, b4 and others." in answer.json()["detail"]


def test_a_calendar_that_counts_no_active_budget_may_change(api: Api, traffic: Traffic) -> None:
    api.budget(name="total", period="total", amount=50_000)
    daily = api.budget(name="daily", period="day", amount=50_000)
    api.limit()

    api.change("organization", **FISCAL)
    traffic.call()
    api.change(f"budgets/{daily['id']}", active=False)
    api.change("organization", **another_date(api))

    traffic.call()
    assert api.policy().fiscal_month_start == 15


@pytest.mark.parametrize(
    ("period", "field"),
    [("day", "time_zone"), ("month", "fiscal_month_start"), ("quarter", "fiscal_month_start"), ("year", "time_zone")],
)
def test_a_budget_that_was_off_meanwhile_has_its_caps_in_the_new_calendar(
    api: Api, traffic: Traffic, period: PeriodKind, field: str
) -> None:
    path = f"budgets/{api.budget(period=period, amount=50_000)['id']}"
    traffic.call()
    api.change(path, active=False)
    api.change("organization", **change_of(api, field))

    shown = api.change(path, active=True)

    assert [state["period"] for state in shown["states"]] == [running_name(api, period)]
    traffic.call()
    kept = list(BudgetPeriod.objects.filter(ends_at_ms__gt=now_ms()).order_by("starts_at_ms"))
    assert all(row.live for row in kept)
    zone = Organization.objects.get().zone
    start = api.policy().fiscal_month_start
    for row in kept:
        expected = period_at(period, row.starts_at_ms, zone, fiscal_month_start=start)
        assert (row.name, row.ends_at_ms) == (expected.name, expected.end_ms)
    assert all(row.ends_at_ms == following.starts_at_ms for row, following in pairwise(kept))


def test_caps_that_are_missing_are_made_though_later_ones_are_there(api: Api, traffic: Traffic) -> None:
    api.budget(amount=50_000)
    running = running_name(api, "month")
    BudgetPeriod.objects.filter(name=running).delete()

    publish_changes(api.organization.pk, actor="alice")

    assert BudgetPeriod.objects.get(name=running).live


@pytest.mark.parametrize(("period", "field"), [("day", "time_zone"), ("month", "fiscal_month_start")])
def test_what_was_spent_counts_in_the_new_calendar_once_counters_are_rebuilt(
    api: Api, traffic: Traffic, period: str, field: str
) -> None:
    path = f"budgets/{api.budget(period=period, amount=5_000)['id']}"
    traffic.call(amount_nusd=5_000)
    traffic.refused()
    api.change(path, active=False)
    api.change("organization", **change_of(api, field))
    api.change(path, active=True)
    Consumer(api.store, "the test's own").drain()
    organization = Organization.objects.get()
    assert "events of 5000 nano-USD, but 0 spent" in str(first_difference(organization))

    call_command("rebuild_counters", "--gateways-look-within=0", stdout=StringIO())

    traffic.refused()
    assert first_difference(organization) is None
