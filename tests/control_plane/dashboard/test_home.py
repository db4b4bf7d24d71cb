"""The home pages: each role sees its own, of what it may see, in a bounded number of queries."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.releases.services import publish_at_start
from control_plane.rights.roles import Role
from control_plane.teams.models import Department, Membership, Team, User
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


@pytest.fixture
def company(api: Api) -> Traffic:
    """Two teams that have spent something today: search, which has a budget and a limit, and support."""
    api.team("search")
    api.team("support")
    api.deployment()
    api.budget(amount=10_000_000_000)
    api.limit()
    department = Department.objects.create(
        organization=api.organization, slug="products", name="Products", cost_centre="CC-7"
    )
    Team.objects.filter(slug="search").update(department=department)
    Team.objects.filter(slug="support").update(cost_centre="=CC-9")
    publish_at_start(api.organization.pk)
    traffic = Traffic(api.store, api.organization)
    traffic.call(amount_nusd=4_000_000_000, team="search", key="key-of-search", user="anna", latency_ms=300)
    traffic.call(amount_nusd=5_000_000_000, team="search", key="key-of-search", user="bob", latency_ms=900)
    traffic.call(amount_nusd=7_000_000_000, team="support", key="key-of-support", user="emil", outcome="interrupted")
    Consumer(api.store, "the test's own").drain()
    aggregate_stale_days()
    return traffic


def browser_of(traffic: Traffic, role: Role, team: str | None = None) -> Client:
    user = User.objects.create_user(f"{role}-{team}", is_staff=True)
    place = Team.objects.get(slug=team) if team else None
    Membership.objects.create(user=user, organization=traffic.organization, team=place, role=role)
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, path: str = "/admin/") -> str:
    """What a page says, its charts' numbers included, without the side bar."""
    answer = client.get(path)
    assert answer.status_code == 200, path
    page = answer.content.decode()
    main = page[page.index('<nav aria-label="Home pages"') :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


@pytest.mark.parametrize(
    ("role", "team", "tabs", "question"),
    [
        ("platform_admin", None, "Platform Finance Team", "Do calls get through?"),
        ("auditor", None, "Platform Finance Team", "Do calls get through?"),
        ("finance", None, "Finance Team", "Does the month stay within the budgets?"),
        ("owner", "search", "Team Search", "Will “Search, monthly” last?"),
        ("viewer", "search", "Team Search", "Will “Search, monthly” last?"),
    ],
)
def test_each_role_comes_to_its_own_page_first(
    company: Traffic, role: Role, team: str | None, tabs: str, question: str
) -> None:
    page = text_of(browser_of(company, role, team))

    assert page.startswith(tabs)
    assert question in page


def test_an_owner_sees_how_fast_the_budget_goes_and_who_spends_it(company: Traffic) -> None:
    page = text_of(browser_of(company, "owner", "search"))

    assert "$9.00 of $10.00 is used. Too little is known to foresee when it ends." in page
    assert "90%" in page
    assert re.search(r"anna \$4\.00 1 ", page)
    assert re.search(r"key-of-search – \$9\.00 2 ", page)
    assert "600 requests in 60 s every call 2 0%" in page


def test_a_refused_call_is_named_with_what_refused_it(company: Traffic, api: Api) -> None:
    api.budget(name="Nothing", amount=0, subject="support")
    company.refused(team="support")
    Consumer(api.store, "the test's own").drain()

    page = text_of(browser_of(company, "owner", "support"))
    assert re.search(r"Download as CSV Limit or budget Calls [a-z ]*budget[a-z ]* 1 All refusals", page)


def test_an_owner_sees_nothing_of_another_team(company: Traffic) -> None:
    client = browser_of(company, "owner", "search")

    for path in ("/admin/", "/admin/?page=finance", "/admin/?page=platform", "/admin/?page=team&team=support"):
        page = text_of(client, path)
        assert not re.search(r"Support|emil|key-of-support|7\.00|16\.00|CC-9", page), path
    assert "There is no team support that you can see." in page
    for table in ("finance/teams", "platform/releases", "none/none", "team/none"):
        assert client.get(f"/admin/exports/{table}.csv").status_code == 404, table
    for table in ("budgets", "refused", "keys", "users", "limits"):
        said = client.get(f"/admin/exports/team/{table}.csv?team=search").getvalue().decode()
        assert said, table
        assert "emil" not in said
        assert client.get(f"/admin/exports/team/{table}.csv?team=support").status_code == 404, table


def test_finance_sees_teams_and_cost_centres_sorted_and_filtered(company: Traffic) -> None:
    client = browser_of(company, "finance")

    whole = text_of(client)
    assert "$16.00" in whole
    assert re.search(r"CC-7 1 \$9\.00 \$[\d.]+ \$10\.00 90% 1", whole)
    assert whole.index("Search CC-7") < whole.index("Support =CC-9")
    turned = text_of(client, "/admin/?teams-sort=spent_usd")
    assert turned.index("Search CC-7") > turned.index("Support =CC-9")
    by_name = text_of(client, "/admin/?teams-sort=-name")
    assert by_name.index("Search CC-7") > by_name.index("Support =CC-9")
    found = text_of(client, "/admin/?teams-q=cc-9")
    assert "Support =CC-9" in found
    assert "Search CC-7" not in found
    assert "Search CC-7" not in text_of(client, "/admin/?teams-cost_centre=%3DCC-9")
    assert "No team has such a name." in text_of(client, "/admin/?teams-q=%25")


def test_the_download_has_every_team_and_no_formula(company: Traffic) -> None:
    answer = browser_of(company, "auditor").get("/admin/exports/finance/teams.csv?teams-sort=name&teams-page=7")

    lines = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [(line["team"], line["spent_usd"], line["budget_usd"], line["cost_centre"]) for line in lines] == [
        ("search", "9.00", "10.00", "CC-7"),
        ("support", "7.00", "", "'=CC-9"),
    ]


def test_the_platform_page_tells_of_traffic_failures_and_health(company: Traffic) -> None:
    page = text_of(browser_of(company, "platform_admin"))

    assert "33.3 % 1 got no whole answer" in page
    assert "openai mini interrupted 1" in page
    assert "at most 300 ms, 95 of 100 at most 900 ms" in page
    assert "gpt-4o-mini openai openai chat – takes calls" in page
    assert "Redis answers, its counters are complete; 0 calls are running" in page


def test_without_redis_every_page_opens_and_says_what_is_not_known(
    company: Traffic, redis_away: Callable[[], AbstractContextManager[None]]
) -> None:
    client = browser_of(company, "platform_admin")
    with redis_away():
        said = {name: text_of(client, f"/admin/?page={name}") for name in ("platform", "finance", "team")}

    assert "Redis needs attention: cannot be reached" in said["platform"]
    assert "$16.00" in said["finance"]
    assert "Redis cannot be reached, so what is spent right now is not known." in said["team"]
    assert "600 requests in 60 s every call not known –" in said["team"]


@pytest.mark.parametrize("name", ["platform", "finance", "team"])
def test_more_teams_keys_and_budgets_cost_no_more_queries(company: Traffic, api: Api, name: str) -> None:
    client = browser_of(company, "platform_admin")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            text_of(client, f"/admin/?page={name}&team=search")
        return len(captured)

    # Of a team without keys no budgets of keys are asked for.
    api.create("keys", team="search", name="the first key")
    queries()
    before = queries()
    for number in range(5):
        api.team(f"team-{number}")
        api.create("keys", team="search", name=f"key {number}")
        api.budget(name=f"Budget {number}", subject="search", period="day")
        api.limit(name=f"Limit {number}")

    assert queries() == before < 40


def test_nonsense_in_the_address_is_answered_as_if_it_were_not_there(company: Traffic) -> None:
    client = browser_of(company, "finance")

    for query in (
        "teams-sort=drop",
        "teams-page=-1",
        "teams-page=9999999999",
        "month=never",
        "page=none",
        "teams-q=%00",
        "team=%00",
    ):
        text_of(client, f"/admin/?{query}")


def test_who_has_no_role_is_told_so(company: Traffic) -> None:
    client = Client()
    client.force_login(User.objects.create_user("stranger", is_staff=True))

    assert "There is nothing here for you yet." in client.get("/admin/").content.decode()


def test_every_table_of_a_team_is_sorted_narrowed_and_downloaded_as_its_address_says(company: Traffic) -> None:
    client = browser_of(company, "owner", "search")

    turned = text_of(client, "/admin/?users-sort=spent_usd")
    assert turned.index("anna $4.00") < turned.index("bob $5.00")
    usual = client.get("/admin/?users-sort=-spent_usd&keys-q=none").content.decode()
    assert usual.count('aria-sort="descending"') == 1
    assert "The team has no such key." in usual
    path = "/admin/exports/team/users.csv?users-sort=-user&users-q=O&keys-q=none"
    assert client.get(path).getvalue().decode().splitlines() == [
        "user,spent_usd,calls,last_used",
        f"bob,5.00,1,{datetime.now(company.organization.zone).date()}",
    ]
    assert "Nobody like that" in text_of(client, "/admin/?users-span=last-month")
    assert "600 requests" in text_of(client, "/admin/?limits-sort=used_percent&budgets-sort=-cap&refused-sort=calls")
