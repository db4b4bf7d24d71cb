"""Who may call the REST API."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from control_plane.api.models import ApiToken
from control_plane.api.services import agree_on_token, issue_token, revoke_token
from control_plane.teams.services import create_organization
from tests.control_plane.cast import Api

RESOURCES = ["teams", "providers", "models", "deployments", "keys", "budgets", "limits", "spend", "events", "webhooks"]


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("authorization", [None, "Token wrong", "Token", "Token a b", "Bearer x", "Basic YTpi"])
@pytest.mark.django_db
def test_nobody_gets_in_without_a_token(resource: str, authorization: str | None) -> None:
    client = Client(headers={"authorization": authorization} if authorization else None)

    for answer in (client.get(f"/api/v1/{resource}"), client.post(f"/api/v1/{resource}")):
        assert answer.status_code == 401
        assert answer["www-authenticate"] == "Token"
        assert answer["content-type"] == "application/problem+json"


def test_a_revoked_token_is_refused(api: Api) -> None:
    revoke_token(ApiToken.objects.get().pk)

    assert api.call("GET", "teams").status_code == 401


def test_the_token_of_a_person_who_has_left_is_refused(api: Api) -> None:
    api.user.is_active = False
    api.user.save()

    assert api.call("GET", "teams").status_code == 401


def test_only_a_digest_of_a_token_is_kept(api: Api) -> None:
    assert api.token not in str(ApiToken.objects.values())


def test_a_token_sees_and_changes_its_own_organization_only(api: Api, store: object) -> None:
    api.team("search")
    api.provider()
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    other = create_organization(slug=f"{api.organization.slug}-b", name="Other", time_zone="UTC", actor="alice")
    _, token = issue_token(user_id=api.user.pk, organization_id=other.pk, name="tests")
    stranger = Api(organization=other, user=api.user, token=token, store=api.store)

    assert stranger.get("teams")["results"] == []
    assert stranger.call("GET", "teams/search").status_code == 404
    assert stranger.call("PATCH", "teams/search", {"name": "Taken"}).status_code == 404
    assert stranger.call("POST", f"keys/{key_id}/revoke").status_code == 404
    assert stranger.refused_fields("POST", "keys", {"team": "search", "name": "x"}) == {"team"}
    assert stranger.team("search")["slug"] == "search"


def test_agreeing_on_a_token_replaces_the_one_before(api: Api) -> None:
    names = {"user_id": api.user.pk, "organization_id": api.organization.pk, "name": "stack"}
    first = agree_on_token(**names, token=None)  # type: ignore[arg-type]
    given = "a-token-that-somebody-has-chosen-long-enough"

    assert first is not None
    assert agree_on_token(**names, token=given) is None  # type: ignore[arg-type]
    assert agree_on_token(**names, token=None) is None  # type: ignore[arg-type]

    with_token = {token: Api(api.organization, api.user, token, api.store) for token in (first, given)}
    assert with_token[first].call("GET", "teams").status_code == 401
    assert with_token[given].call("GET", "teams").status_code == 200


def test_health_needs_no_token(api: Api) -> None:
    answer = Client().get("/api/v1/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "redis": "ok"}


@pytest.mark.parametrize(
    "token", ["short", "blanks in a token that is long enough", "ümlaut-in-a-token-that-is-long-enough"]
)
def test_a_token_that_is_weak_or_cannot_be_sent_is_refused(api: Api, token: str) -> None:
    with pytest.raises(ValidationError):
        issue_token(user_id=api.user.pk, organization_id=api.organization.pk, name="weak", token=token)
