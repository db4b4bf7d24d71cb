"""Temporary extensions: more of a budget until an instant, for which a person and a reason are recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from control_plane.api.services import issue_token
from control_plane.budgets.extensions import extend_budget
from control_plane.budgets.models import Budget, BudgetPeriod, Extension
from control_plane.budgets.selectors import now_ms
from control_plane.releases.services import publish_at_start, republish
from control_plane.teams.models import User
from control_plane.teams.services import create_organization
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic, store_at

HOUR_MS = 3_600_000


def in_hours(hours: float) -> str:
    return (timezone.now() + timedelta(hours=hours)).isoformat()


def fields(**changes: Any) -> dict[str, Any]:
    return {"amount": 5_000, "expires_at": in_hours(2), "reason": "A launch"} | changes


def extend(api: Api, budget_id: int, **changes: Any) -> Any:
    return api.create(f"budgets/{budget_id}/extensions", **fields(**changes))


def cap(api: Api, budget_id: int, *, subject: str = "search", store: Store | None = None, ahead: int = 0) -> int | None:
    """The cap in force of the running period, or of one of those to come, by the clock of a store."""
    rows = BudgetPeriod.objects.filter(budget_id=budget_id, subject=subject, ends_at_ms__gt=now_ms())
    names = list(rows.order_by("starts_at_ms").values_list("name", flat=True))
    state = (store or api.store).budget_state(api.organization.slug, str(budget_id), subject, names[ahead])
    return state.cap if state else None


@pytest.fixture
def budget_id(api: Api) -> int:
    """The team Search's 1,000 nano-USD a month."""
    api.team()
    number: int = api.budget()["id"]
    return number


@pytest.fixture
def traffic(api: Api, budget_id: int) -> Traffic:
    publish_at_start(api.organization.pk)
    return Traffic(api.store, api.organization)


def test_an_extension_counts_on_the_next_request(api: Api, budget_id: int, traffic: Traffic) -> None:
    traffic.refused()

    extend(api, budget_id)

    traffic.call(amount_nusd=5_000)
    traffic.refused()


def test_it_ends_at_its_instant_by_redis_own_clock(api: Api, budget_id: int, redis_address: str) -> None:
    extend(api, budget_id)
    until_ms = Extension.objects.get().expires_at_ms

    assert cap(api, budget_id, store=store_at(redis_address, until_ms - 1)) == 6_000
    assert cap(api, budget_id, store=store_at(redis_address, until_ms)) == 1_000


def test_who_extended_for_how_long_and_why_is_recorded(api: Api, budget_id: int) -> None:
    created = extend(api, budget_id, amount=7)

    assert (created["created_by"], created["reason"], created["subject"]) == ("alice", "A launch", "search")
    assert (created["amount"], created["amount_usd"]) == (7, "0.000000007")
    assert (created["revoked_by"], created["revoked_at"]) == (None, None)
    assert api.get(f"budgets/{budget_id}/extensions")["results"] == [created]
    assert api.get(f"budgets/{budget_id}/extensions/{created['id']}") == created


def test_money_may_be_given_in_us_dollars(api: Api, budget_id: int) -> None:
    body = {"amount_usd": "0.000002", "expires_at": in_hours(1), "reason": "x"}

    assert api.create(f"budgets/{budget_id}/extensions", **body)["amount"] == 2_000


def test_extensions_add_up_and_the_budget_shows_them(api: Api, budget_id: int) -> None:
    extend(api, budget_id, amount=10)
    extend(api, budget_id, amount=20)

    state = api.get(f"budgets/{budget_id}")["state"]

    assert (state["cap"], state["extended_by"]) == (1_030, 30)


def test_a_revoked_extension_ends_on_the_next_request(api: Api, budget_id: int, traffic: Traffic) -> None:
    path = f"budgets/{budget_id}/extensions/{extend(api, budget_id)['id']}/revoke"
    assert cap(api, budget_id) == 6_000

    revoked, again = (api.call("POST", path, {}) for _ in range(2))

    assert (revoked.status_code, revoked["x-bursar-live"]) == (200, "true")
    assert revoked.json()["revoked_by"] == "alice"
    assert again.json() == revoked.json()
    assert cap(api, budget_id) == 1_000


def test_one_that_has_ended_is_not_revoked(api: Api, budget_id: int) -> None:
    created = extend(api, budget_id)
    Extension.objects.update(expires_at=timezone.now())

    answer = api.call("POST", f"budgets/{budget_id}/extensions/{created['id']}/revoke", {})

    assert answer.json()["revoked_at"] is None


def test_it_counts_in_every_period_that_begins_within_its_life(api: Api, redis_address: str) -> None:
    api.team()
    budget_id = api.budget(period="day", amount=100)["id"]
    extend(api, budget_id, amount=7, expires_at=in_hours(25))

    days = BudgetPeriod.objects.filter(budget_id=budget_id, ends_at_ms__gt=now_ms()).order_by("starts_at_ms")
    tomorrow, after_tomorrow = days[1], days[2]
    store = store_at(redis_address, tomorrow.starts_at_ms)
    assert cap(api, budget_id, store=store, ahead=1) == 107
    assert tomorrow.version == 2
    assert cap(api, budget_id, store=store_at(redis_address, after_tomorrow.ends_at_ms - 1), ahead=2) == 100


def test_a_budget_of_each_team_is_extended_for_one(api: Api) -> None:
    api.team("search")
    api.team("support")
    budget_id = api.budget(subject=None)["id"]
    path = f"budgets/{budget_id}/extensions"

    assert api.refused_fields("POST", path, fields()) == {"subject"}
    assert api.refused_fields("POST", path, fields(subject="nobody")) == {"subject"}
    extend(api, budget_id, subject="support")

    assert (cap(api, budget_id, subject="search"), cap(api, budget_id, subject="support")) == (1_000, 6_000)


def test_a_user_of_a_budget_for_each_is_given_a_cap_of_their_own(api: Api) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="backend", speaks_for_users=True)["id"]
    budget_id = api.budget(name="Each user", scope="user", subject=None, amount=10_000)["id"]
    publish_at_start(api.organization.pk)
    traffic = Traffic(api.store, api.organization)
    of_alice, of_bob = {"key": key_id, "user": "alice"}, {"key": key_id, "user": "bob"}
    traffic.call(amount_nusd=6_000, **of_alice)
    traffic.call(amount_nusd=10_000, **of_bob)

    extend(api, budget_id, subject="alice", amount=3_000)

    traffic.call(amount_nusd=7_000, **of_alice)
    traffic.refused(**of_alice)
    traffic.refused(**of_bob)
    [state] = api.get(f"budgets/{budget_id}")["states"]
    assert (state["subject"], state["cap"], state["spent"], state["extended_by"]) == ("alice", 13_000, 13_000, 3_000)
    api.change(f"budgets/{budget_id}", amount=20_000)
    assert cap(api, budget_id, subject="alice") == 23_000


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": MAX_CAP_NUSD + 1}, "amount"),
        ({"amount": MAX_CAP_NUSD - 999}, "amount"),
        ({"amount_usd": "1"}, "amount_usd"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
        ({"reason": ""}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"subject": "support"}, "subject"),
        ({"revoked_at": None}, "revoked_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(
    api: Api, budget_id: int, changed: dict[str, Any], named: str
) -> None:
    assert api.refused_fields("POST", f"budgets/{budget_id}/extensions", fields(**changed)) == {named}
    assert not Extension.objects.exists()


def test_reason_amount_and_end_must_be_given(api: Api, budget_id: int) -> None:
    path = f"budgets/{budget_id}/extensions"

    assert api.refused_fields("POST", path, {}) == {"expires_at", "reason"}
    assert api.refused_fields("POST", path, {"expires_at": in_hours(1), "reason": "x"}) == {"amount"}


def test_a_cap_and_its_extensions_stay_countable_together(api: Api, budget_id: int) -> None:
    extend(api, budget_id, amount=MAX_CAP_NUSD - 2_000)

    assert api.refused_fields("POST", f"budgets/{budget_id}/extensions", fields(amount=1_001)) == {"amount"}
    assert api.refused_fields("PATCH", f"budgets/{budget_id}", {"amount": 2_001}) == {"amount"}
    api.change(f"budgets/{budget_id}", amount=2_000)
    assert cap(api, budget_id) == MAX_CAP_NUSD


def test_extensions_made_at_once_do_not_exceed_what_can_be_counted(api: Api, budget_id: int) -> None:
    body = fields(amount=MAX_CAP_NUSD // 3)
    answers = all_at_once([partial(api.call, "POST", f"budgets/{budget_id}/extensions", body)] * 4)

    assert sorted(answer.status_code for answer in answers) == [201, 201, 400, 400]


def test_a_budget_that_is_switched_off_is_not_extended(api: Api, budget_id: int) -> None:
    api.change(f"budgets/{budget_id}", active=False)

    assert api.refused_fields("POST", f"budgets/{budget_id}/extensions", fields()) == {"budget"}


def test_extensions_are_published_anew_after_redis_has_lost_them(
    api: Api, budget_id: int, forget_everything: Callable[[], None]
) -> None:
    extend(api, budget_id)
    forget_everything()

    republish(api.organization.pk)

    assert cap(api, budget_id) == 6_000


def test_a_stranger_sees_and_changes_none_of_it(api: Api, budget_id: int) -> None:
    created = extend(api, budget_id)
    elsewhere = create_organization(slug=f"{api.organization.slug}-b", name="Bcme", time_zone="UTC", actor="charlie")
    charlie = User.objects.create_user("charlie")
    _, token = issue_token(user_id=charlie.pk, organization_id=elsewhere.pk, name="tests")
    stranger = Api(organization=elsewhere, user=charlie, token=token, store=api.store)
    path = f"budgets/{budget_id}/extensions"

    for method, address in (("GET", path), ("POST", path), ("POST", f"{path}/{created['id']}/revoke")):
        assert stranger.call(method, address, fields()).status_code == 404
    assert api.call("PATCH", f"{path}/{created['id']}", {"amount": 1}).status_code == 405
    assert api.call("DELETE", f"{path}/{created['id']}").status_code == 405


@pytest.fixture
def pages(api: Api) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(api.user)
    return client


def entered(budget_id: int, **changes: str) -> dict[str, str]:
    """The form of an extension, filled in."""
    until = timezone.now() + timedelta(hours=2)
    filled = {"budget": str(budget_id), "subject": "", "entered_amount": "0.000005", "reason": "A launch"}
    return filled | {"expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": f"{until:%H:%M:%S}"} | changes


def test_alice_extends_a_budget_on_its_page_and_revokes_it(api: Api, budget_id: int, pages: Client) -> None:
    page = f"/admin/budgets/budget/{budget_id}/change/"
    form = pages.get(f"/admin/budgets/budget/{budget_id}/extend/")
    assert form["location"] == f"/admin/budgets/extension/add/?budget={budget_id}"
    assert f'<option value="{budget_id}" selected' in pages.get(form["location"]).content.decode()

    saved = pages.post(form["location"], entered(budget_id), follow=True)

    assert "errornote" not in saved.content.decode()
    extension = Extension.objects.get()
    assert (extension.amount, extension.created_by, extension.reason) == (5_000, api.user, "A launch")
    assert cap(api, budget_id) == 6_000
    shown = pages.get(page).content.decode()
    assert "of $0.000006 (with $0.000005 of extensions)" in shown
    assert "A launch" in shown

    pages.post(f"/admin/budgets/extension/{extension.pk}/revoke/", {"_form_submitted": "True"})

    extension.refresh_from_db()
    assert extension.revoked_by == api.user
    assert cap(api, budget_id) == 1_000


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"reason": ""}, "This field is required"),
        ({"entered_amount": "-1"}, "greater than or equal to 0"),
        ({"entered_amount": "0"}, "Give more than 0"),
        ({"entered_amount": "9000000"}, "a cap is at most"),
        ({"entered_amount": "1e999999"}, "At most 9,000,000 US dollars"),
        ({"expires_at_0": "2020-01-01"}, "must be in the future"),
        ({"expires_at_0": "2999-01-01"}, "lasts a year at most"),
        ({"subject": "support"}, "about search only"),
    ],
)
def test_the_form_says_what_to_enter_instead(
    api: Api, budget_id: int, pages: Client, changed: dict[str, str], complaint: str
) -> None:
    answer = pages.post("/admin/budgets/extension/add/", entered(budget_id, **changed))

    assert answer.status_code == 200
    assert complaint in answer.content.decode()
    assert not Extension.objects.exists()


def test_an_extension_is_never_changed_and_not_made_by_everybody(api: Api, budget_id: int, pages: Client) -> None:
    extension = extend_budget(
        budget_id,
        subject=None,
        amount=5,
        expires_at=timezone.now() + timedelta(hours=1),
        reason="x",
        created_by=api.user,
    )
    path = f"/admin/budgets/extension/{extension.pk}"

    assert pages.post(f"{path}/change/", entered(budget_id)).status_code == 403
    assert pages.post(f"{path}/delete/", {"post": "yes"}).status_code == 403

    bob = Client()
    bob.force_login(User.objects.create_user("bob", is_staff=True))
    assert bob.post("/admin/budgets/extension/add/", entered(budget_id)).status_code == 403
    assert bob.post(f"{path}/revoke/", {"_form_submitted": "True"}).status_code == 403
    assert bob.get(f"/admin/budgets/budget/{budget_id}/extend/").status_code == 403
    assert Budget.objects.get().extensions.get() == extension
