"""Budgets: the caps that gateways count against, from the request that sets them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import pytest
from django.db import connection, transaction

from control_plane.budgets.models import Budget as BudgetRow
from control_plane.budgets.models import BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.budgets.services import change_budget
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.release import Budget, Scope
from kong_plugins.llm.store import BudgetState
from kong_plugins.llm.windows import next_period, period_at
from tests.control_plane.cast import Api, all_at_once


def states(api: Api, budget_id: int) -> dict[tuple[str, str], BudgetState | None]:
    """What Redis knows of each period that the database knows, by subject and name."""
    rows = BudgetPeriod.objects.filter(budget_id=budget_id)
    return {
        (row.subject, row.name): api.store.budget_state(api.organization.slug, str(budget_id), row.subject, row.name)
        for row in rows
    }


def caps(api: Api, budget_id: int) -> set[int | None]:
    return {state.cap if state else None for state in states(api, budget_id).values()}


def test_a_budget_has_a_live_cap_in_this_period_and_in_those_to_come(api: Api) -> None:
    api.team()

    created = api.create("budgets", name="b", scope="team", subject="search", period="month", amount_usd="400.00")

    zone = api.organization.zone
    this_month = period_at("month", now_ms(), zone)
    months = [this_month]
    for _ in range(3):
        months.append(next_period("month", months[-1], zone))
    known = states(api, created["id"])
    assert [name for _, name in known][:4] == [month.name for month in months]
    assert set(known.values()) == {BudgetState(cap=400_000_000_000, spent=0, held=0)}
    assert created["state"] == {"subject": "search", "period": this_month.name, "cap": 400_000_000_000} | {
        "carried_over": 0,
        "extended_by": 0,
        "spent": 0,
        "held": 0,
    }


def test_a_budget_may_be_about_one_provider_and_keys_with_one_tag(api: Api) -> None:
    api.team()
    api.provider()

    api.budget(provider="openai", tag="prod")

    assert api.policy().budgets[0].scope == Scope(kind="team", subject="search", provider="openai", tag="prod")


def test_the_rule_of_a_budget_is_in_the_policy_when_its_creation_answers(api: Api) -> None:
    api.team()
    api.model()

    created = api.budget(model="gpt-4o-mini", hard=False, thresholds_percent=[80, 100])

    assert api.policy().budgets == (
        Budget(
            id=str(created["id"]),
            scope=Scope(kind="team", subject="search", model="gpt-4o-mini"),
            unit="nusd",
            period="month",
            hard=False,
            thresholds_percent=(80, 100),
        ),
    )


def test_a_budget_that_degrades_and_has_a_line_and_shares_is_in_the_policy(api: Api) -> None:
    api.team()

    created = api.budget(degrade_at_percent=80, queue_seconds=300, tier_shares_percent={"experimental": 10})

    [budget] = api.policy().budgets
    assert (budget.degrade_at_percent, budget.queue_ms) == (80, 300_000)
    assert (budget.tier_shares_percent, budget.each_cap) == ({"experimental": 10}, None)
    assert (created["degrade_at_percent"], created["queue_seconds"]) == (80, 300)


def test_a_budget_becomes_soft_only_without_what_would_then_have_no_effect(api: Api) -> None:
    api.team()
    how = {"degrade_at_percent": 80, "queue_seconds": 5, "tier_shares_percent": {"experimental": 10}}
    budget_id = api.budget(**how)["id"]

    assert api.refused_fields("PATCH", f"budgets/{budget_id}", {"hard": False}) == set(how)
    api.change(f"budgets/{budget_id}", hard=False, degrade_at_percent=None, queue_seconds=0, tier_shares_percent={})

    assert api.policy().budgets[0].hard is False


def test_a_budget_of_each_user_has_its_cap_in_the_policy_and_no_periods(api: Api) -> None:
    created = api.budget(name="Each user", scope="user", subject=None, amount=5_000)

    [budget] = api.policy().budgets
    assert (budget.scope, budget.each_cap) == (Scope(kind="user", subject=None), 5_000)
    assert not BudgetPeriod.objects.exists()
    assert (created["state"], created["states"]) == (None, [])

    api.change(f"budgets/{created['id']}", amount=7_000)
    assert api.policy().budgets[0].each_cap == 7_000


def test_a_budget_of_one_user_has_its_cap_in_its_periods(api: Api) -> None:
    budget_id = api.budget(scope="user", subject="bob@example.com", amount=5_000)["id"]

    assert api.policy().budgets[0].each_cap is None
    assert caps(api, budget_id) == {5_000}


@pytest.mark.parametrize(
    ("period", "least"), [("day", 46), ("week", 15), ("month", 4), ("quarter", 2), ("year", 1), ("total", 1)]
)
def test_periods_follow_each_other_without_a_gap_beyond_the_horizon(api: Api, period: str, least: int) -> None:
    api.team()

    budget_id = api.budget(period=period)["id"]

    rows = list(BudgetPeriod.objects.filter(budget_id=budget_id).order_by("starts_at_ms"))
    assert len(rows) >= least
    assert rows[0].starts_at_ms <= now_ms() < rows[0].ends_at_ms
    assert all(before.ends_at_ms == after.starts_at_ms for before, after in pairwise(rows))
    assert caps(api, budget_id) == {1_000}


def test_a_changed_cap_is_live_when_the_change_answers(api: Api) -> None:
    api.team()
    budget_id = api.budget(amount=0)["id"]
    assert caps(api, budget_id) == {0}

    api.change(f"budgets/{budget_id}", amount=5_000)
    assert caps(api, budget_id) == {5_000}
    api.change(f"budgets/{budget_id}", amount_usd="0.00")
    assert caps(api, budget_id) == {0}


def test_the_greatest_cap_is_kept_exactly(api: Api) -> None:
    api.team()

    budget_id = api.budget(amount=MAX_CAP_NUSD)["id"]

    assert caps(api, budget_id) == {9_000_000_000_000_000}
    assert api.get(f"budgets/{budget_id}")["amount_usd"] == "9000000.00"


def test_a_cap_changed_by_many_at_once_ends_as_the_database_says(api: Api) -> None:
    api.team()
    budget_id = api.budget(amount=0)["id"]
    amounts = range(100, 108)

    all_at_once([partial(api.change, f"budgets/{budget_id}", amount=amount) for amount in amounts])

    last = BudgetRow.objects.get(pk=budget_id).amount
    rows = BudgetPeriod.objects.filter(budget_id=budget_id)
    assert last in amounts
    assert {(row.cap, row.version, row.live) for row in rows} == {(last, 9, True)}
    assert caps(api, budget_id) == {last}


def test_a_budget_of_each_team_has_a_cap_for_a_team_that_comes_later(api: Api) -> None:
    api.team("search")
    budget_id = api.budget(subject=None)["id"]

    api.team("support")

    assert {subject for subject, _ in states(api, budget_id)} == {"search", "support"}
    assert caps(api, budget_id) == {1_000}
    assert api.get(f"budgets/{budget_id}")["state"] is None
    assert len(api.get(f"budgets/{budget_id}")["states"]) == 2


def test_a_budget_of_each_key_has_a_cap_before_the_key_is_handed_out(api: Api) -> None:
    api.team("search")
    budget_id = api.budget(scope="key", subject=None, unit="tokens", period="day")["id"]
    assert states(api, budget_id) == {}

    key_id = api.create("keys", team="search", name="search-prod")["id"]

    assert {subject for subject, _ in states(api, budget_id)} == {key_id}
    assert caps(api, budget_id) == {1_000}


def test_a_budget_of_the_organization_is_about_its_own_slug(api: Api) -> None:
    created = api.budget(scope="organization", subject=None)

    assert created["subject"] == api.organization.slug
    assert {subject for subject, _ in states(api, created["id"])} == {api.organization.slug}


def test_an_inactive_budget_leaves_the_policy_and_comes_back_with_its_caps(api: Api) -> None:
    api.team()
    budget_id = api.budget()["id"]

    api.change(f"budgets/{budget_id}", active=False)
    assert api.policy().budgets == ()
    api.change(f"budgets/{budget_id}", amount=7)
    api.change(f"budgets/{budget_id}", active=True)

    assert [budget.id for budget in api.policy().budgets] == [str(budget_id)]
    assert caps(api, budget_id) == {7}


def test_a_cap_is_never_made_of_an_amount_that_is_being_changed(api: Api) -> None:
    api.team("search")
    budget_id = api.budget(subject=None, amount=1)["id"]

    def make_team() -> None:
        try:
            api.team("support")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            change_budget(budget_id, actor="alice", amount=2)
            made = thread.submit(make_team)
            while not (made.done() or somebody_waits_for_a_lock()):
                pass
        made.result()

    assert {row.cap for row in BudgetPeriod.objects.filter(budget_id=budget_id)} == {2}
    assert caps(api, budget_id) == {2}
    assert {subject for subject, _ in states(api, budget_id)} == {"search", "support"}


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        # A transaction sees the activity of its first look until it forgets it.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        [waiting] = cursor.fetchone()
        return bool(waiting)
