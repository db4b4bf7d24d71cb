"""Budgets and limits in the admin, as Alice fills in their forms."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from control_plane.budgets.models import Budget, BudgetPeriod, Limit
from tests.control_plane.cast import Api, post, shown_errors

LIMITS = "/admin/budgets/limit/"
BUDGETS = "/admin/budgets/budget/"


@pytest.fixture
def budget(api: Api) -> dict[str, Any]:
    """The form of a new budget of the team search, filled in."""
    api.team()
    return {
        "organization": api.organization.pk,
        "name": "Search",
        "scope": "team",
        "subject": "search",
        "unit": "nusd",
        "period": "month",
        "entered_amount": "100",
        "thresholds_percent": "50,90",
        "hard": "on",
        "active": "on",
    }


@pytest.fixture
def limit(api: Api) -> dict[str, Any]:
    """The form of a new limit of the team search, filled in."""
    api.team()
    return {
        "organization": api.organization.pk,
        "name": "rpm",
        "scope": "team",
        "subject": "search",
        "unit": "requests",
        "amount": "600",
        "window_ms": "60",
        "active": "on",
    }


def shares(**percents: str) -> dict[str, str]:
    """What is entered beside each tier."""
    return {f"tier_shares_percent_{tier}": percent for tier, percent in percents.items()}


def test_a_time_is_entered_in_seconds_and_a_share_beside_its_tier(
    api: Api, pages: Client, limit: dict[str, Any]
) -> None:
    entered = {"queue_ms": "30"} | shares(critical="100", normal="", experimental="20")
    post(pages, f"{LIMITS}add/", limit | entered)

    [rule] = api.policy().limits
    assert (rule.window_ms, rule.queue_ms, rule.tier_shares_percent) == (60_000, 30_000, {"experimental": 20})
    row = Limit.objects.get()
    page = pages.get(f"{LIMITS}{row.pk}/change/").content.decode()
    for shown in ('name="queue_ms" value="30"', 'name="window_ms" value="60"', 'percent_experimental" value="20"'):
        assert shown in page
    assert "wait 30 s" in pages.get(LIMITS).content.decode()
    assert "experimental 20\N{NO-BREAK SPACE}%" in pages.get(LIMITS).content.decode()


def test_a_form_that_is_sent_as_it_came_changes_nothing(api: Api, pages: Client, limit: dict[str, Any]) -> None:
    entered = {"queue_ms": "30"} | shares(critical="100", normal="100", experimental="20")
    post(pages, f"{LIMITS}add/", limit | entered)
    before = api.policy()

    post(pages, f"{LIMITS}{Limit.objects.get().pk}/change/", limit | entered)

    assert api.policy() == before


def test_a_line_and_shares_can_be_taken_away_again(api: Api, pages: Client, limit: dict[str, Any]) -> None:
    post(pages, f"{LIMITS}add/", limit | {"queue_ms": "30"} | shares(experimental="0"))
    assert api.policy().limits[0].tier_shares_percent == {"experimental": 0}

    path = f"{LIMITS}{Limit.objects.get().pk}/change/"
    post(pages, path, limit | {"queue_ms": ""} | shares(critical="", normal="", experimental=""))

    [rule] = api.policy().limits
    assert (rule.queue_ms, rule.tier_shares_percent) == (0, {})


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"queue_ms": "301"}, "less than or equal to 300"),
        ({"queue_ms": "-1"}, "greater than or equal to 0"),
        ({"queue_ms": "5", "shadow": "on"}, "In shadow mode nothing is refused, so this would have no effect"),
        (shares(experimental="101"), "Experimental: give a whole percentage from 0 to 100"),
        (shares(normal="half"), "Normal: give a whole percentage"),
        (shares(critical="0", normal="0", experimental="0"), "With a share of 0 for every tier nobody could call"),
        ({"amount": "4"} | shares(experimental="20"), "give it at least 25 %"),
        ({"window_ms": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_limit_that_would_do_nothing_is_refused_beside_its_field(
    pages: Client, limit: dict[str, Any], changed: dict[str, str], complaint: str
) -> None:
    assert complaint in shown_errors(pages, f"{LIMITS}add/", limit | changed)
    assert not Limit.objects.exists()


def test_a_budget_that_degrades_is_live_and_says_so_in_the_list(
    api: Api, pages: Client, budget: dict[str, Any]
) -> None:
    post(pages, f"{BUDGETS}add/", budget | {"degrade_at_percent": "80", "queue_ms": "10"})

    assert api.policy().budgets[0].degrade_at_percent == 80
    assert "degrade at 80 %, wait 10 s" in pages.get(BUDGETS).content.decode()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"degrade_at_percent": "101"}, "less than or equal to 100"),
        ({"degrade_at_percent": "80", "hard": ""}, "A budget that only warns refuses nothing"),
        ({"degrade_at_percent": "80", "shadow": "on"}, "In shadow mode nothing is refused"),
        ({"hard": ""} | shares(experimental="20"), "A budget that only warns refuses nothing"),
        ({"entered_amount": "0.000000004"} | shares(experimental="20"), "give it at least 25 %"),
    ],
)
def test_a_budget_that_would_do_nothing_is_refused_beside_its_field(
    pages: Client, budget: dict[str, Any], changed: dict[str, str], complaint: str
) -> None:
    assert complaint in shown_errors(pages, f"{BUDGETS}add/", budget | changed)
    assert not Budget.objects.exists()


def test_a_budget_of_each_user_is_made_without_a_subject(api: Api, pages: Client, budget: dict[str, Any]) -> None:
    post(pages, f"{BUDGETS}add/", budget | {"scope": "user", "subject": "", "entered_amount": "0.50"})

    assert api.policy().budgets[0].each_cap == 500_000_000
    assert not BudgetPeriod.objects.exists()
    assert "$0.50 each" in pages.get(BUDGETS).content.decode()
    page = pages.get(f"{BUDGETS}{Budget.objects.get().pk}/change/").content.decode()
    assert "Each user is counted from their first call on." in page


def test_what_to_carry_over_is_entered_in_dollars(api: Api, pages: Client, budget: dict[str, Any]) -> None:
    post(pages, f"{BUDGETS}add/", budget | {"carry_over_max": "12.5"})
    row = Budget.objects.get()
    assert row.carry_over_max == 12_500_000_000
    assert 'name="carry_over_max" value="12.5"' in pages.get(f"{BUDGETS}{row.pk}/change/").content.decode()

    post(pages, f"{BUDGETS}{row.pk}/change/", budget | {"carry_over_max": "0"})

    row.refresh_from_db()
    assert row.carry_over_max == 0


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"period": "total"}, "A total has no next period"),
        ({"scope": "user", "subject": ""}, "name the user"),
        ({"entered_amount": "9000000"}, "With the amount, this must not be above"),
        ({"carry_over_max": "-1"}, "greater than or equal to 0"),
        ({"carry_over_max": "9000001"}, "At most 9,000,000 US dollars"),
        ({"entered_amount": "1e999999"}, "At most 9,000,000 US dollars"),
        ({"entered_amount": "1e999999", "unit": "tokens"}, "At most 9,000,000,000,000,000"),
    ],
)
def test_what_cannot_be_carried_over_is_said_beside_the_field(
    api: Api, pages: Client, budget: dict[str, Any], changed: dict[str, str], complaint: str
) -> None:
    assert complaint in shown_errors(pages, f"{BUDGETS}add/", budget | {"carry_over_max": "1"} | changed)
    assert not Budget.objects.exists()
