"""What a token may: never more than its user, never more than its scopes, and never longer than its life."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from control_plane.api.callers import SCOPES
from control_plane.api.models import ApiToken
from control_plane.api.selectors import token_prefix
from control_plane.api.services import issue_token
from control_plane.api.views import ApiView
from control_plane.teams.models import User
from control_plane.teams.services import create_organization
from tests.control_plane.api.addresses import OPEN, views
from tests.control_plane.cast import Api


def with_token(api: Api, token: str, user: User | None = None) -> Api:
    return Api(api.organization, user or api.user, token, api.store)


def scoped(api: Api, *scopes: str, **fields: Any) -> Api:
    answer = api.create("tokens", name=f"for {scopes}", scopes=list(scopes) or None, **fields)
    return with_token(api, answer["token"])


def test_every_address_says_which_scope_it_needs() -> None:
    found = dict(views())

    assert {"teams", "tokens", "spend", "budgets/(?P<budget_id>\\d{1,18})/extensions"} <= set(found)
    for address, view in found.items():
        if address not in OPEN:
            assert issubclass(view, ApiView), address
            assert view.scope in SCOPES, address


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (
            ("read",),
            ["GET teams", "GET keys", "GET tokens", "GET spend?group_by=team"],
            ["POST teams", "PATCH teams/x"],
        ),
        (("keys",), ["GET keys", "POST keys"], ["GET teams", "POST budgets", "GET events", "GET tokens"]),
        (("read", "teams"), ["GET budgets", "POST teams"], ["POST budgets", "POST tokens", "POST prices/import"]),
        (("spend",), ["GET spend?group_by=team", "GET dead-letters"], ["GET releases", "POST releases/republish"]),
    ],
)
def test_a_token_does_what_its_scopes_say_and_no_more(
    api: Api, scopes: tuple[str, ...], allowed: list[str], refused: list[str]
) -> None:
    narrow = scoped(api, *scopes)

    for method, path in (call.split() for call in allowed):
        assert narrow.call(method, path, {}).status_code in (200, 400), path
    for method, path in (call.split() for call in refused):
        answer = narrow.call(method, path, {})
        assert (answer.status_code, "has not the scope" in answer.json()["detail"]) == (403, True), path


def test_nobody_gets_out_of_a_token_more_than_is_in_it(api: Api) -> None:
    soon = timezone.now() + timedelta(hours=1)
    narrow = scoped(api, "admin", "keys", expires_at=soon.isoformat())
    wide = api.create("tokens", name="wide")
    asked = {"name": "mine", "scopes": ["keys"], "expires_at": soon.isoformat()}

    assert narrow.refused_fields("POST", "tokens", asked | {"scopes": None}) == {"scopes"}
    assert narrow.refused_fields("POST", "tokens", asked | {"scopes": ["keys", "teams"]}) == {"scopes"}
    assert narrow.refused_fields("POST", "tokens", asked | {"expires_at": None}) == {"expires_at"}
    assert narrow.refused_fields("POST", f"tokens/{wide['id']}/rotate", {}) == {"scopes"}
    own = narrow.create("tokens", **asked)
    assert narrow.refused_fields("PATCH", f"tokens/{own['id']}", {"scopes": None}) == {"scopes"}
    assert ApiToken.objects.count() == 4


def test_a_token_is_for_oneself_or_a_service_account_of_the_organization(api: Api) -> None:
    person = {"role": "auditor", "email": "x@example.com"}
    api.create("people", username="bob", **person)
    api.create("people", username="robot", is_service=True, **person)
    other = create_organization(slug=f"{api.organization.slug}-b", name="Other", time_zone="UTC", actor="alice")
    User.objects.create(username="stranger", is_service=True).memberships.create(organization=other, role="auditor")

    for username in ("bob", "stranger", "nobody"):
        assert api.refused_fields("POST", "tokens", {"name": "x", "username": username}) == {"username"}
    robot = with_token(api, api.create("tokens", name="x", username="robot")["token"])

    assert robot.get("teams")["results"] == []
    assert robot.call("POST", "teams", {"slug": "x", "name": "X"}).status_code == 403


def test_a_secret_is_shown_once_and_recognised_ever_after(api: Api) -> None:
    made = api.create("tokens", name="ci", scopes=["read"])

    assert token_prefix(made["token"]) == made["prefix"]
    assert token_prefix(made["token"][:-1] + "#") == ""
    assert "token" not in api.get(f"tokens/{made['id']}")
    assert made["token"] not in str(list(ApiToken.objects.values()))


def test_after_a_rotation_the_secret_before_works_for_the_grace_that_was_given(api: Api) -> None:
    made = api.create("tokens", name="ci")
    address = f"tokens/{made['id']}/rotate"

    second = api.call("POST", address, {"grace_seconds": 3600}).json()["token"]
    assert [with_token(api, each).call("GET", "teams").status_code for each in (made["token"], second)] == [200, 200]

    third = api.call("POST", address, {}).json()["token"]
    tried = [with_token(api, each).call("GET", "teams").status_code for each in (made["token"], second, third)]
    assert tried == [401, 401, 200]

    api.call("POST", f"tokens/{made['id']}/revoke")
    assert with_token(api, third).call("GET", "teams").status_code == 401
    assert api.call("POST", address, {}).status_code == 400
    assert api.get(f"tokens/{made['id']}")["state"] == "revoked"


def test_a_token_ends_when_it_was_to_end(api: Api) -> None:
    row, token = issue_token(
        user_id=api.user.pk, organization_id=api.organization.pk, name="old", expires_at=timezone.now()
    )

    assert with_token(api, token).call("GET", "teams").status_code == 401
    assert api.get(f"tokens/{row.pk}")["state"] == "expired"


def test_when_it_was_last_used_is_known_to_the_hour(api: Api) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    made = api.create("tokens", name="ci")
    assert api.get(f"tokens/{made['id']}")["last_used_at"] is None

    with_token(api, made["token"]).get("teams")

    assert ApiToken.objects.get(pk=made["id"]).last_used_at in (hour, hour + timedelta(hours=1))


def test_a_person_calls_with_their_session_and_its_csrf_token_only(api: Api) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(api.user)
    team = {"slug": "search", "name": "Search"}

    assert browser.get("/api/v1/teams").status_code == 200
    refused = browser.post("/api/v1/teams", team, content_type="application/json")
    assert (refused.status_code, refused["content-type"]) == (403, "application/problem+json")

    browser.get("/admin/teams/team/add/")
    csrf = {"x-csrftoken": browser.cookies["bursar_csrf"].value}
    assert browser.post("/api/v1/teams", team, content_type="application/json", headers=csrf).status_code == 201


def test_who_has_several_organizations_says_which_one_is_meant(api: Api) -> None:
    create_organization(slug=f"{api.organization.slug}-b", name="Other", time_zone="UTC", actor="alice")
    api.team()
    browser = Client()
    browser.force_login(api.user)

    answer = browser.get("/api/v1/teams")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "X-Bursar-Organization")
    for slug, teams in ((api.organization.slug, 1), (f"{api.organization.slug}-b", 0)):
        found = browser.get("/api/v1/teams", headers={"x-bursar-organization": slug})
        assert len(found.json()["results"]) == teams
    assert browser.get("/api/v1/teams", headers={"x-bursar-organization": "unknown"}).status_code == 403
    assert api.call("GET", "teams", x_bursar_organization="unknown").status_code == 403


def test_who_has_no_role_anywhere_is_let_in_nowhere(api: Api) -> None:
    browser = Client()
    browser.force_login(User.objects.create_user("mallory"))

    assert browser.get("/api/v1/teams").status_code == 403
