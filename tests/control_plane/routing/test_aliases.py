"""Aliases, and what gateways learn of them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from control_plane.routing.models import Alias
from control_plane.teams.services import create_organization
from tests.control_plane.cast import Api, post, shown_errors


@pytest.fixture
def models(api: Api) -> tuple[str, str]:
    """A large and a small model, and the team search."""
    api.team("search")
    for name in ("large", "small"):
        api.model(name)
    return "large", "small"


def meanings(api: Api) -> tuple[dict[str, str], dict[str, str]]:
    """What the aliases of all teams stand for, and those of the team search."""
    policy = api.policy()
    [team] = policy.teams
    return policy.aliases, team.aliases


@pytest.mark.usefixtures("models")
def test_an_alias_is_in_the_policy_when_its_creation_answers(api: Api) -> None:
    created = api.create("aliases", name="best", model="large")

    assert (created["name"], created["model"], created["team"], created["active"]) == ("best", "large", None, True)
    assert meanings(api) == ({"best": "large"}, {})


@pytest.mark.usefixtures("models")
def test_a_team_may_have_its_own_meaning_and_give_it_up_again(api: Api) -> None:
    everyones = api.create("aliases", name="best", model="large")
    own = api.create("aliases", name="best", model="large", team="search")

    api.change(f"aliases/{own['id']}", model="small")
    assert meanings(api) == ({"best": "large"}, {"best": "small"})
    assert [row["id"] for row in api.get("aliases?team=search")["results"]] == [own["id"]]
    api.change(f"aliases/{own['id']}", active=False)
    assert meanings(api) == ({"best": "large"}, {})
    api.change(f"aliases/{everyones['id']}", active=False)
    assert meanings(api) == ({}, {})


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"name": "large", "model": "small"}, "name", "There is a model of this name"),
        ({"name": "fast", "model": "large"}, None, "change what it stands for"),
        ({"name": "a b", "model": "small"}, "name", "Use letters"),
        ({"name": "new", "model": "unknown"}, "model", "unknown"),
        ({"name": "new", "model": "small", "team": "unknown"}, "team", "unknown"),
        ({"name": "new", "model": "fast"}, "model", "fast"),
        ({"name": "new"}, "model", "required"),
        ({"name": "new", "model": "small", "active": "yes"}, "active", "boolean"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_alias_that_could_not_be_is_refused(api: Api, body: dict[str, Any], field: str | None, words: str) -> None:
    api.create("aliases", name="fast", model="small")

    answer = api.call("POST", "aliases", body)

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]
    assert meanings(api) == ({"fast": "small"}, {})


@pytest.mark.usefixtures("models")
def test_a_model_cannot_take_an_aliass_name(api: Api) -> None:
    api.create("aliases", name="best", model="large", team="search")
    bounds = {"context_window_tokens": 100, "max_output_tokens": 10, "default_output_tokens": 1}

    assert api.refused_fields("POST", "models", {"name": "best"} | bounds) == {"name"}


@pytest.mark.usefixtures("models")
def test_whose_alias_it_is_and_its_name_never_change(api: Api) -> None:
    path = f"aliases/{api.create('aliases', name='best', model='large')['id']}"

    for field, value in (("name", "better"), ("team", "search")):
        assert api.refused_fields("PATCH", path, {field: value}) == {field}


@pytest.mark.usefixtures("models")
def test_another_organizations_aliases_are_its_own(api: Api) -> None:
    other = create_organization(slug="another", name="Another", time_zone="UTC", actor="alice")
    alias = api.create("aliases", name="best", model="large")
    Alias.objects.filter(pk=alias["id"]).update(organization=other)

    assert api.get("aliases")["results"] == []
    assert api.call("PATCH", f"aliases/{alias['id']}", {"active": False}).status_code == 404


@pytest.mark.usefixtures("models")
def test_alice_makes_an_alias_in_the_admin_and_sees_a_mistake_beside_it(api: Api, pages: Client) -> None:
    by_name = {name: str(api.organization.models.get(name=name).pk) for name in ("large", "small")}
    fields = {"organization": str(api.organization.pk), "name": "best", "team": "", "active": "on"}

    post(pages, "/admin/routing/alias/add/", fields | {"model": by_name["large"]})
    assert meanings(api) == ({"best": "large"}, {})
    page = pages.get("/admin/routing/alias/").content.decode()
    assert "all teams" in page

    alias = Alias.objects.get()
    post(pages, f"/admin/routing/alias/{alias.pk}/change/", {"model": by_name["small"], "active": "on"})
    assert meanings(api) == ({"best": "small"}, {})
    again = shown_errors(pages, "/admin/routing/alias/add/", fields | {"model": by_name["large"]})
    assert "change what it stands for" in again
