"""Carrying over: what a period left is added to the next one's cap, once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from control_plane.budgets.carry_over import carried, carry_over, carry_over_everything
from control_plane.budgets.models import Budget, BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.budgets.tasks import carry_over as task
from control_plane.live import live_state
from control_plane.releases.services import publish_at_start, publish_changes
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.recovery import Recovery
from kong_plugins.llm.windows import period_at
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic, store_at

AMOUNT = 100_000


@pytest.fixture
def budget(api: Api) -> Budget:
    """The team Search's 100,000 nano-USD a month, of which up to 60,000 are carried over."""
    api.team()
    budget_id = api.budget(amount=AMOUNT, carry_over_max=60_000)["id"]
    publish_at_start(api.organization.pk)
    return Budget.objects.select_related("organization").get(pk=budget_id)


@pytest.fixture
def last_month(budget: Budget, redis_address: str) -> Traffic:
    """Calls of last month, which had the same cap."""
    return month_before(running(budget), redis_address)


def running(budget: Budget) -> BudgetPeriod:
    at_ms = now_ms()
    return BudgetPeriod.objects.get(budget=budget, starts_at_ms__lte=at_ms, ends_at_ms__gt=at_ms)


def month_before(period: BudgetPeriod, redis_address: str) -> Traffic:
    """Make the cap of the month before, as it was made in its time; return the calls of its last hour."""
    budget = period.budget
    organization = budget.organization
    month = period_at("month", period.starts_at_ms - 1, organization.zone)
    BudgetPeriod.objects.create(
        budget=budget,
        subject=period.subject,
        name=month.name,
        starts_at_ms=month.start_ms,
        ends_at_ms=month.end_ms,
        cap=AMOUNT,
        published_version=1,
    )
    live_state().set_cap(
        *(organization.slug, budget.reference, period.subject, month.name),
        cap=AMOUNT,
        version=1,
        thresholds_percent=(),
    )
    last_hour_ms = month.end_ms - 3_600_000
    return Traffic(store_at(redis_address, last_hour_ms), organization, at_ms=last_hour_ms)


def caps(budget: Budget) -> tuple[int, int]:
    """The running cap: as the database says, and as gateways count it."""
    row = running(budget)
    state = live_state().budget_state(budget.organization.slug, budget.reference, row.subject, row.name)
    assert state is not None
    return row.cap, state.cap


def test_what_last_month_left_is_added_to_this_months_cap_once(api: Api, budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=70_000)

    assert carry_over(budget.organization) == 1
    assert carry_over(budget.organization) == 0
    task()

    assert caps(budget) == (AMOUNT + 30_000, AMOUNT + 30_000)
    state = api.get(f"budgets/{budget.pk}")["state"]
    assert (state["cap"], state["carried_over"]) == (AMOUNT + 30_000, 30_000)


def test_no_more_is_carried_over_than_the_budget_allows(budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=1)

    carry_over(budget.organization)

    assert caps(budget) == (AMOUNT + 60_000, AMOUNT + 60_000)


def test_nothing_is_carried_over_while_a_call_of_last_month_is_not_over(budget: Budget, last_month: Traffic) -> None:
    call = last_month.hold()
    assert carry_over(budget.organization) == 0
    assert caps(budget) == (AMOUNT, AMOUNT)

    last_month.post(call, amount_nusd=90_000)

    assert carry_over(budget.organization) == 1
    assert caps(budget) == (AMOUNT + 10_000, AMOUNT + 10_000)


def test_a_month_that_spent_more_than_its_cap_takes_nothing_from_the_next(budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=AMOUNT + 5_000)

    assert carry_over(budget.organization) == 0
    assert caps(budget) == (AMOUNT, AMOUNT)


def test_workers_who_carry_over_at_once_do_it_once(budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=70_000)

    raised = all_at_once([partial(carry_over, budget.organization)] * 6)

    assert sorted(raised) == [0, 0, 0, 0, 0, 1]
    assert caps(budget) == (AMOUNT + 30_000, AMOUNT + 30_000)


def test_a_worker_that_dies_before_it_published_leaves_it_to_the_next_publication(
    budget: Budget, last_month: Traffic
) -> None:
    last_month.call(amount_nusd=70_000)
    # What such a worker had committed.
    BudgetPeriod.objects.filter(budget=budget, ends_at_ms__lte=now_ms()).update(closed_at=timezone.now())
    BudgetPeriod.objects.filter(pk=running(budget).pk).update(cap=AMOUNT + 30_000, carried_over=30_000, version=2)

    assert carry_over(budget.organization) == 0
    publish_changes(budget.organization_id, actor="republish")

    assert caps(budget) == (AMOUNT + 30_000, AMOUNT + 30_000)


def test_a_new_amount_keeps_what_was_carried_over(api: Api, budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=70_000)
    carry_over(budget.organization)

    api.change(f"budgets/{budget.pk}", amount=1_000)
    assert caps(budget) == (31_000, 31_000)
    api.change(f"budgets/{budget.pk}", amount=0, carry_over_max=0)
    assert caps(budget) == (30_000, 30_000)

    following = BudgetPeriod.objects.get(budget=budget, starts_at_ms=running(budget).ends_at_ms)
    assert following.cap == 0


def test_what_was_carried_over_is_carried_on(budget: Budget, last_month: Traffic, redis_address: str) -> None:
    month = BudgetPeriod.objects.get(budget=budget, ends_at_ms=running(budget).starts_at_ms)
    month_before(month, redis_address).call(amount_nusd=60_000)
    last_month.call(amount_nusd=99_000)

    assert carry_over(budget.organization) == 2

    month.refresh_from_db()
    assert (month.carried_over, month.cap) == (40_000, AMOUNT + 40_000)
    assert caps(budget) == (AMOUNT + 41_000, AMOUNT + 41_000)


def test_a_month_waits_for_the_one_before_it(budget: Budget, last_month: Traffic, redis_address: str) -> None:
    month = BudgetPeriod.objects.get(budget=budget, ends_at_ms=running(budget).starts_at_ms)
    before = month_before(month, redis_address)
    call = before.hold()
    last_month.call(amount_nusd=AMOUNT)
    assert carry_over(budget.organization) == 0

    before.post(call, amount_nusd=AMOUNT - 7)
    carry_over(budget.organization)

    assert caps(budget) == (AMOUNT + 7, AMOUNT + 7)


def test_a_month_that_ended_before_anything_was_to_be_carried_over_leaves_nothing(
    api: Api, budget: Budget, last_month: Traffic
) -> None:
    api.change(f"budgets/{budget.pk}", carry_over_max=0)
    carry_over(budget.organization)
    api.change(f"budgets/{budget.pk}", carry_over_max=60_000)

    assert carry_over(budget.organization) == 0
    assert caps(budget) == (AMOUNT, AMOUNT)


def test_counters_that_are_being_rebuilt_are_not_believed(budget: Budget, last_month: Traffic) -> None:
    slug = budget.organization.slug
    epoch = Recovery(live_state()).state(slug).epoch
    assert epoch is not None
    Recovery(live_state()).close_admission(slug)
    assert carry_over(budget.organization) == 0

    Recovery(live_state()).open_admission(slug, epoch + 1, replay_since_ms=0)

    assert carry_over(budget.organization) == 1


def test_of_a_month_that_redis_does_not_know_nothing_is_carried_over(budget: Budget, last_month: Traffic) -> None:
    BudgetPeriod.objects.filter(budget=budget, ends_at_ms__lte=now_ms()).update(name="month-2001-01-01")

    assert carry_over(budget.organization) == 0
    assert not BudgetPeriod.objects.filter(budget=budget, ends_at_ms__lte=now_ms(), closed_at=None).exists()
    assert caps(budget) == (AMOUNT, AMOUNT)


def test_while_redis_is_away_nothing_is_closed(
    budget: Budget,
    last_month: Traffic,
    redis_away: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_away(), caplog.at_level(logging.WARNING):
        carry_over_everything()

    assert "nothing is carried over yet" in caplog.text
    assert carry_over(budget.organization) == 1


def test_a_budget_without_a_next_period_or_known_users_carries_nothing_over(api: Api) -> None:
    usual = {"name": "b", "amount": 5, "carry_over_max": 5}
    total = {"scope": "organization", "period": "total"}
    users = {"scope": "user", "period": "month"}
    high = {"scope": "organization", "period": "month", "amount": MAX_CAP_NUSD}

    for fields in (total, users, high):
        assert api.refused_fields("POST", "budgets", usual | fields) == {"carry_over_max"}
    assert api.refused_fields("POST", "budgets", usual | users | {"carry_over_max": -1}) == {"carry_over_max"}


def test_money_to_carry_over_may_be_given_in_us_dollars(api: Api) -> None:
    money = {"name": "m", "scope": "organization", "period": "month", "amount_usd": "1.50"}
    created = api.create("budgets", **money, carry_over_max_usd="0.25")

    assert (created["carry_over_max"], created["carry_over_max_usd"]) == (250_000_000, "0.25")
    assert api.change(f"budgets/{created['id']}", carry_over_max_usd="0.50")["carry_over_max"] == 500_000_000
    tokens = {"name": "t", "scope": "organization", "unit": "tokens", "period": "day", "amount": 1}
    assert api.refused_fields("POST", "budgets", tokens | {"carry_over_max_usd": "1"}) == {"carry_over_max_usd"}


@given(
    left=st.integers(-MAX_CAP_NUSD, MAX_CAP_NUSD),
    carry_over_max=st.integers(0, MAX_CAP_NUSD),
    room=st.integers(0, MAX_CAP_NUSD),
)
def test_what_is_carried_over_is_the_least_of_what_is_left_allowed_and_fits(
    left: int, carry_over_max: int, room: int
) -> None:
    amount = carried(left=left, carry_over_max=carry_over_max, room=room)

    assert amount in {0, left, carry_over_max, room}
    assert 0 <= amount <= min(carry_over_max, room)
    assert amount <= max(0, left)
    assert amount in (left, carry_over_max, room) or left < 0


def test_the_page_of_a_budget_says_what_was_carried_over(api: Api, budget: Budget, last_month: Traffic) -> None:
    last_month.call(amount_nusd=70_000)
    carry_over(budget.organization)
    pages = Client()
    pages.force_login(api.user)

    page = pages.get(f"/admin/budgets/budget/{budget.pk}/change/").content.decode()

    assert "of $0.00013 (with $0.00003 carried over)" in page
