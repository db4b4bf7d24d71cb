"""Asking for more of a budget: the team asks with a reason, whoever is above decides, never the asker."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from control_plane.api.services import issue_token
from control_plane.audit.models import AuditEntry
from control_plane.audit.sentences import sentence
from control_plane.budgets.extension_requests import (
    approve_request,
    ask_for_more,
    latest_end,
    refuse_request,
    withdraw_request,
)
from control_plane.budgets.models import Budget, BudgetPeriod, Extension, ExtensionRequest
from control_plane.budgets.selectors import now_ms
from control_plane.releases.services import publish_at_start
from control_plane.rights.roles import Role
from control_plane.teams.models import Department, Membership, Team, User
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api, all_at_once, post, shown_errors
from tests.control_plane.ledger.traffic import Traffic, store_at

Cast = dict[str, User]
ADD = "/admin/budgets/extensionrequest/add/"


@pytest.fixture
def budget(api: Api) -> Budget:
    """What the organization has given the team Search, of the department Products: 1,000 nano-USD in all."""
    api.team("search")
    api.team("support")
    department = Department.objects.create(organization=api.organization, slug="products", name="Products")
    Team.objects.filter(slug="search").update(department=department)
    return Budget.objects.get(pk=api.budget(period="total")["id"])


@pytest.fixture
def cast(api: Api, budget: Budget) -> Cast:
    """Anna owns Search and Bob is its member, Vera looks on; Dora owns the department, Otto another team, Paul runs
    the platform."""

    def person(name: str, role: Role, team: str | None = None, department: Department | None = None) -> User:
        user = User.objects.create_user(name, is_staff=True)
        place = Team.objects.get(slug=team) if team else None
        organization = api.organization
        Membership.objects.create(user=user, organization=organization, team=place, department=department, role=role)
        return user

    return {
        "anna": person("anna", "owner", "search"),
        "bob": person("bob", "member", "search"),
        "vera": person("vera", "viewer", "search"),
        "dora": person("dora", "owner", department=Department.objects.get()),
        "otto": person("otto", "owner", "support"),
        "paul": person("paul", "platform_admin"),
        "finn": person("finn", "finance"),
        "aude": person("aude", "auditor"),
    }


def in_hours(hours: float) -> Any:
    return timezone.now() + timedelta(hours=hours)


def asked(budget: Budget, user: User, **changes: Any) -> ExtensionRequest:
    fields: dict[str, Any] = {"amount": 5_000, "expires_at": in_hours(2), "reason": "The launch"} | changes
    return ask_for_more(budget.pk, asked_by=user, **fields)


def program_of(api: Api, user: User, scopes: Any = None) -> Api:
    name = f"of {user}, {uuid.uuid4().hex}"
    _, token = issue_token(user_id=user.pk, organization_id=api.organization.pk, name=name, scopes=scopes)
    return Api(organization=api.organization, user=user, token=token, store=api.store)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def cap(api: Api, budget: Budget, store: Store | None = None) -> int:
    row = BudgetPeriod.objects.filter(budget=budget, ends_at_ms__gt=now_ms()).earliest("starts_at_ms")
    state = (store or api.store).budget_state(api.organization.slug, str(budget.pk), "search", row.name)
    assert state is not None
    return state.cap


def test_the_next_call_is_admitted_once_somebody_above_has_approved(
    api: Api, budget: Budget, cast: Cast, redis_address: str
) -> None:
    publish_at_start(api.organization.pk)
    traffic = Traffic(api.store, api.organization)
    traffic.refused()
    request = asked(budget, cast["anna"])
    traffic.refused()

    approved = approve_request(request.pk, decided_by=cast["dora"], amount=4_000, note="A little less")

    traffic.call(amount_nusd=4_000)
    assert (approved.state, approved.decided_by, approved.note) == ("approved", cast["dora"], "A little less")
    extension = Extension.objects.get()
    assert (approved.extension, extension.amount, extension.created_by) == (extension, 4_000, cast["dora"])
    assert (extension.reason, extension.expires_at) == ("The launch", request.expires_at)
    until_ms = extension.expires_at_ms
    assert cap(api, budget, store_at(redis_address, until_ms - 1)) == 5_000
    assert cap(api, budget, store_at(redis_address, until_ms)) == 1_000
    Extension.objects.update(expires_at=timezone.now())
    ended = Traffic(store_at(redis_address, until_ms), api.organization, traffic.releases)
    ended.refused()


def test_what_is_asked_must_make_sense(budget: Budget, cast: Cast) -> None:
    anna = cast["anna"]
    for changes, named in (
        ({"amount": 0}, "amount"),
        ({"amount": -5}, "amount"),
        ({"expires_at": in_hours(-1)}, "expires_at"),
        ({"expires_at": in_hours(93 * 24)}, "expires_at"),
        ({"reason": ""}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
    ):
        with pytest.raises(ValidationError) as refused:
            asked(budget, anna, **changes)
        assert set(refused.value.message_dict) == {named}, changes
    assert not ExtensionRequest.objects.exists()


def test_it_ends_within_the_running_period(api: Api, budget: Budget, cast: Cast) -> None:
    daily = Budget.objects.get(pk=api.budget(name="Daily", period="day")["id"])
    day = BudgetPeriod.objects.filter(budget=daily).earliest("starts_at_ms")

    assert latest_end(daily).timestamp() * 1000 == day.ends_at_ms
    with pytest.raises(ValidationError) as refused:
        asked(daily, cast["anna"], expires_at=latest_end(daily) + timedelta(seconds=1))
    assert "the end of the budget's running period" in refused.value.message_dict["expires_at"][0]
    request = asked(daily, cast["anna"], expires_at=None)
    assert (request.period_name, request.expires_at) == (day.name, latest_end(daily))


def test_a_budget_of_everybody_has_no_team_that_could_ask(api: Api, budget: Budget, cast: Cast) -> None:
    key = api.create("keys", team="search", name="backend")["id"]
    of_key = Budget.objects.get(pk=api.budget(name="Of a key", scope="key", subject=key, period="total")["id"])
    of_all = Budget.objects.get(pk=api.budget(name="All", scope="organization", subject=None, period="total")["id"])
    of_each = Budget.objects.get(pk=api.budget(name="Each", subject=None, period="total")["id"])

    assert asked(of_key, cast["bob"]).team.slug == "search"
    for other in (of_all, of_each):
        with pytest.raises(ValidationError) as refused:
            asked(other, cast["paul"])
        assert set(refused.value.message_dict) == {"budget"}


def test_one_person_has_one_request_waiting(budget: Budget, cast: Cast) -> None:
    first = asked(budget, cast["anna"])
    asked(budget, cast["bob"])
    with pytest.raises(ValidationError):
        asked(budget, cast["anna"])

    withdraw_request(first.pk, withdrawn_by=cast["anna"])
    second = asked(budget, cast["anna"])
    ExtensionRequest.objects.filter(pk=second.pk).update(expires_at=timezone.now())

    asked(budget, cast["anna"])
    second.refresh_from_db()
    assert second.state_now == "expired"


def test_of_two_requests_at_once_one_is_made(budget: Budget, cast: Cast) -> None:
    def ask() -> bool:
        try:
            asked(budget, cast["anna"])
        except ValidationError:
            return False
        return True

    assert sorted(all_at_once([ask] * 4)) == [False, False, False, True]


def test_nobody_decides_what_they_have_asked_for(api: Api, budget: Budget, cast: Cast) -> None:
    for asker in (cast["dora"], cast["paul"], api.user):
        request = asked(budget, asker)
        with pytest.raises(ValidationError):
            approve_request(request.pk, decided_by=asker)
        with pytest.raises(ValidationError):
            refuse_request(request.pk, decided_by=asker, note="No")
        answer = program_of(api, asker).call("POST", f"extension-requests/{request.pk}/approve", {})
        assert answer.status_code in (400, 403)
    assert not Extension.objects.exists()


def test_no_more_is_given_than_was_asked_for(budget: Budget, cast: Cast) -> None:
    request = asked(budget, cast["anna"])
    for changes in ({"amount": 5_001}, {"amount": 0}, {"expires_at": in_hours(3)}, {"expires_at": in_hours(-1)}):
        with pytest.raises(ValidationError) as refused:
            approve_request(request.pk, decided_by=cast["paul"], **changes)
        assert set(refused.value.message_dict) == set(changes)
    with pytest.raises(ValidationError) as refused:
        refuse_request(request.pk, decided_by=cast["paul"], note="")
    assert set(refused.value.message_dict) == {"note"}
    request.refresh_from_db()
    assert request.state == "waiting"


def test_one_that_waited_too_long_is_not_decided(api: Api, budget: Budget, cast: Cast) -> None:
    request = asked(budget, cast["anna"])
    ExtensionRequest.objects.update(expires_at=timezone.now())

    answer = program_of(api, cast["paul"]).call("POST", f"extension-requests/{request.pk}/approve", {})

    assert (answer.status_code, answer.json()["detail"]) == (409, "This request is expired already.")
    assert [row["state"] for row in api.get("extension-requests?state=expired")["results"]] == ["expired"]
    assert api.get("extension-requests?state=waiting")["results"] == []


def test_of_several_who_decide_at_once_exactly_one_wins(api: Api, budget: Budget, cast: Cast) -> None:
    request = asked(budget, cast["anna"])
    paul, dora, anna = (program_of(api, cast[name]) for name in ("paul", "dora", "anna"))
    path = f"extension-requests/{request.pk}"

    answers = all_at_once(
        [
            partial(paul.call, "POST", f"{path}/approve", {}),
            partial(dora.call, "POST", f"{path}/approve", {}),
            partial(dora.call, "POST", f"{path}/refuse", {"note": "No"}),
            partial(anna.call, "POST", f"{path}/withdraw", {}),
        ]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    request.refresh_from_db()
    assert (request.state, str(request.decided_by)) == (won["state"], won["decided_by"])
    assert Extension.objects.count() == (request.state == "approved")
    assert cap(api, budget) == 1_000 + 5_000 * Extension.objects.count()


@pytest.mark.parametrize("way", ["approve", "refuse"])
def test_only_who_is_above_decides(api: Api, budget: Budget, cast: Cast, way: str) -> None:
    request = asked(budget, cast["anna"])
    expected = {"anna": 403, "bob": 403, "vera": 403, "finn": 403, "aude": 403, "otto": 404}
    for name, code in expected.items():
        answer = program_of(api, cast[name]).call("POST", f"extension-requests/{request.pk}/{way}", {"note": "x"})
        assert answer.status_code == code, name
        page = browser_of(cast[name]).get(f"/admin/budgets/extensionrequest/{request.pk}/{way}/")
        assert page.status_code == 403, name
    narrow = program_of(api, cast["paul"], ["keys", "read"])
    assert narrow.call("POST", f"extension-requests/{request.pk}/{way}", {"note": "x"}).status_code == 403

    answer = program_of(api, cast["dora"]).call("POST", f"extension-requests/{request.pk}/{way}", {"note": "x"})

    assert (answer.status_code, answer["x-bursar-live"]) == (200, "true")
    assert answer.json()["state"] == {"approve": "approved", "refuse": "refused"}[way]


def test_who_may_ask_and_who_sees_it(api: Api, budget: Budget, cast: Cast) -> None:
    body = {"budget": budget.pk, "amount": 7, "expires_at": in_hours(1).isoformat(), "reason": "x"}
    codes = {
        name: program_of(api, user).call("POST", "extension-requests", body).status_code for name, user in cast.items()
    }

    assert {name for name, code in codes.items() if code == 201} == {"anna", "bob", "dora", "paul"}
    assert (codes["otto"], codes["vera"]) == (400, 403)
    seen = {name: len(program_of(api, user).get("extension-requests")["results"]) for name, user in cast.items()}
    assert seen == {"otto": 0} | dict.fromkeys(cast.keys() - {"otto"}, 4)
    of_anna = ExtensionRequest.objects.get(asked_by=cast["anna"])
    assert program_of(api, cast["bob"]).call("POST", f"extension-requests/{of_anna.pk}/withdraw", {}).status_code == 403


def test_a_program_asks_once_and_is_answered_twice(api: Api, budget: Budget, cast: Cast) -> None:
    anna = program_of(api, cast["anna"])
    body = {"budget": budget.pk, "amount_usd": "0.000005", "expires_at": in_hours(1).isoformat(), "reason": "Launch"}

    first, again = (anna.call("POST", "extension-requests", body, Idempotency_Key="k-1") for _ in range(2))

    assert (first.status_code, again.json()) == (201, first.json())
    created = first.json()
    assert (created["amount"], created["amount_usd"], created["state"]) == (5_000, "0.000005", "waiting")
    assert (created["team"], created["asked_by"], created["extension"]) == ("search", "anna", None)
    assert anna.get(f"extension-requests/{created['id']}") == created
    assert anna.refused_fields("POST", "extension-requests", body) == {"budget"}
    assert anna.refused_fields("POST", "extension-requests", body | {"budget": 0}) == {"budget"}
    assert anna.refused_fields("POST", "extension-requests", body | {"state": "approved"}) == {"state"}
    assert anna.call("PATCH", f"extension-requests/{created['id']}", {"amount": 1}).status_code == 405
    path = f"extension-requests/{created['id']}/approve"
    dora = program_of(api, cast["dora"])
    assert dora.refused_fields("POST", path, {"amount_usd": "1"}) == {"amount"}
    given = dora.call("POST", path, {"amount_usd": "0.000003", "note": "For now"}).json()
    assert (given["state"], given["decided_by"], given["note"]) == ("approved", "dora", "For now")
    assert (given["extension"]["amount"], given["extension"]["expires_at"]) == (3_000, created["expires_at"])
    assert api.get(f"extension-requests?state=approved&budget={budget.pk}")["results"] == [given]


def test_who_asked_and_who_decided_is_in_the_audit_log(budget: Budget, cast: Cast) -> None:
    refuse_request(asked(budget, cast["anna"]).pk, decided_by=cast["dora"], note="Next month")

    made, decided = AuditEntry.objects.filter(kind="extension_request", team="search").order_by("pk")
    assert (made.team, made.object_name, made.after["reason"]) == ("search", "Search, monthly", "The launch")
    assert "refused extension request Search, monthly" in sentence(decided)
    assert (decided.after["state"], decided.after["note"]) == ("refused", "Next month")


def filled(budget: Budget, **changes: str) -> dict[str, str]:
    until = in_hours(2)
    form = {"budget": str(budget.pk), "entered_amount": "0.000005", "reason": "The launch"}
    return form | {"expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": f"{until:%H:%M:%S}"} | changes


def test_anna_asks_on_the_budgets_page_and_dora_approves_on_the_requests(api: Api, budget: Budget, cast: Cast) -> None:
    anna, dora = browser_of(cast["anna"]), browser_of(cast["dora"])
    page = f"/admin/budgets/budget/{budget.pk}/change/"
    assert "Ask for more" in anna.get(page).content.decode()
    assert "Ask for more" not in browser_of(cast["vera"]).get(page).content.decode()
    form = anna.get(f"/admin/budgets/budget/{budget.pk}/ask_for_more/")
    assert form["location"] == f"{ADD}?budget={budget.pk}"
    assert f'<option value="{budget.pk}" selected' in anna.get(form["location"]).content.decode()
    assert "Give more than 0" in shown_errors(anna, ADD, filled(budget, entered_amount="0"))
    assert "At most until" in shown_errors(anna, ADD, filled(budget, expires_at_0=f"{in_hours(93 * 24):%Y-%m-%d}"))

    post(anna, form["location"], filled(budget))

    request = ExtensionRequest.objects.get()
    path = f"/admin/budgets/extensionrequest/{request.pk}"
    assert (request.amount, request.asked_by) == (5_000, cast["anna"])
    of_anna, of_dora = (client.get(f"{path}/change/").content.decode() for client in (anna, dora))
    assert (f"{path}/withdraw/" in of_anna, f"{path}/approve/" in of_anna) == (True, False)
    assert (f"{path}/withdraw/" in of_dora, f"{path}/approve/" in of_dora) == (False, True)
    assert 'value="0.000005"' in dora.get(f"{path}/approve/").content.decode()
    until = request.expires_at
    fields = {"entered_amount": "0.000005", "expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": f"{until:%H:%M:%S}"}
    late = fields | {"expires_at_0": f"{in_hours(48):%Y-%m-%d}"}
    assert "later than was asked for" in shown_errors(dora, f"{path}/approve/", late)

    said = post(dora, f"{path}/approve/", fields | {"entered_amount": "0.000002", "note": "For now"})

    assert "approved: it counts from the next call on" in said
    assert cap(api, budget) == 3_000
    assert "approved already by dora" in post(dora, f"{path}/refuse/", {"note": "Too late"})
    listed = anna.get("/admin/budgets/extensionrequest/").content.decode()
    assert re.search(r"approved", listed)
    assert "The launch" in anna.get(page).content.decode()


def test_home_pages_say_what_waits_for_whom_and_what_has_become_of_it(budget: Budget, cast: Cast) -> None:
    request = asked(budget, cast["anna"])
    waits, own = "Waiting for your decision", "Your requests"

    def shown(name: str) -> set[str]:
        page = browser_of(cast[name]).get("/admin/").content.decode()
        return {title for title in (waits, own) if title in page}

    assert {name: shown(name) for name in cast if shown(name)} == {"anna": {own}, "dora": {waits}, "paul": {waits}}

    approve_request(request.pk, decided_by=cast["paul"], amount=2_000, note="For now")

    assert {name: shown(name) for name in cast if shown(name)} == {"anna": {own}}
    page = browser_of(cast["anna"]).get("/admin/").content.decode()
    for said in (
        "approved by paul",
        "$0.000002",
        "For\N{NO-BREAK SPACE}now",
        f"/admin/budgets/extensionrequest/{request.pk}/change/",
    ):
        assert said in page


def test_paul_refuses_with_a_note_and_anna_withdraws(budget: Budget, cast: Cast) -> None:
    anna, paul = browser_of(cast["anna"]), browser_of(cast["paul"])
    path = f"/admin/budgets/extensionrequest/{asked(budget, cast['anna']).pk}"
    assert "This field is required" in shown_errors(paul, f"{path}/refuse/", {"note": ""})
    assert "is refused" in post(paul, f"{path}/refuse/", {"note": "Next month"})
    assert "Next month" in anna.get(f"{path}/change/").content.decode()

    second = asked(budget, cast["anna"])
    path = f"/admin/budgets/extensionrequest/{second.pk}"
    assert browser_of(cast["bob"]).post(f"{path}/withdraw/", {"_form_submitted": "True"}).status_code == 403
    anna.post(f"{path}/withdraw/", {"_form_submitted": "True"})
    second.refresh_from_db()
    assert (second.state, second.decided_by) == ("withdrawn", cast["anna"])
