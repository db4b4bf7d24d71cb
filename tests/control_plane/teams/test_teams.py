"""Teams and organizations, and what gateways learn of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.test import Client

from control_plane.teams.models import Team as TeamRow
from control_plane.teams.services import create_organization
from kong_plugins.llm.release import Team
from tests.control_plane.cast import Api, all_at_once, post, shown_errors


def test_a_new_team_is_in_the_policy_when_its_creation_answers(api: Api) -> None:
    api.model()

    created = api.team("search", tier="critical", models=["gpt-4o-mini"])

    assert created["models"] == ["gpt-4o-mini"]
    assert api.policy().teams == (Team(id="search", tier="critical", models=("gpt-4o-mini",)),)


def test_no_models_and_all_models_are_not_the_same(api: Api) -> None:
    api.team("all", models=None)
    api.team("none", models=[])

    assert {team.id: team.models for team in api.policy().teams} == {"all": None, "none": ()}


def test_a_change_is_in_the_policy_when_it_answers(api: Api) -> None:
    api.model()
    api.team("search")

    api.change("teams/search", tier="experimental", models=["gpt-4o-mini"])

    assert api.policy().teams == (Team(id="search", tier="experimental", models=("gpt-4o-mini",)),)


def test_teams_made_at_the_same_moment_are_all_in_the_policy(api: Api) -> None:
    slugs = [f"team-{number}" for number in range(8)]

    all_at_once([partial(api.team, slug) for slug in slugs])

    assert [team.id for team in api.policy().teams] == slugs
    assert TeamRow.objects.count() == 8


def test_the_calendar_is_in_the_policy_when_its_change_answers(api: Api) -> None:
    api.change("organization", time_zone="America/New_York", fiscal_month_start=15)

    assert (api.policy().time_zone, api.policy().fiscal_month_start) == ("America/New_York", 15)


def test_the_organizations_page_says_which_budgets_keep_the_calendar(api: Api, pages: Client) -> None:
    api.team()
    api.budget()
    path = f"/admin/teams/organization/{api.organization.pk}/change/"
    fields = {"slug": api.organization.slug, "name": "Acme", "time_zone": "UTC", "fiscal_month_start": 1}

    page = pages.post(path, fields, follow=True).content.decode()

    assert "Active budgets are counted by this: Search, monthly. Switch them off first." in page
    assert api.policy().time_zone == "Europe/Berlin"


def test_an_organization_says_which_tiers_go_on_while_redis_is_away(api: Api) -> None:
    api.team("search")
    assert api.get("organization")["fault_tolerant_tiers"] == ["critical", "normal", "experimental"]
    assert api.policy().fault_tolerant_tiers == ("critical", "normal", "experimental")
    assert api.policy().capless_tiers == ()

    changed = api.change("organization", fault_tolerant_tiers=["normal", "critical"], capless_tiers=["critical"])

    assert (changed["slug"], changed["capless_tiers"]) == (api.organization.slug, ["critical"])
    assert api.policy().fault_tolerant_tiers == ("critical", "normal")
    assert api.policy().capless_tiers == ("critical",)


def test_only_a_tier_that_goes_on_can_go_on_past_its_budget(api: Api) -> None:
    answer = api.call("PATCH", "organization", {"fault_tolerant_tiers": ["normal"], "capless_tiers": ["critical"]})

    assert answer.status_code == 400
    assert "fault tolerant" in answer.content.decode()


def test_a_program_sees_and_changes_its_own_organization_only(api: Api) -> None:
    create_organization(slug="another", name="Another", time_zone="UTC", actor="alice")

    assert api.get("organization")["slug"] == api.organization.slug
    for body in ({"slug": "another"}, {"readiness_epoch": 9}, {"capless_tiers": ["gold"]}, {"capless_tiers": None}):
        assert api.call("PATCH", "organization", body).status_code == 400
    assert api.call("POST", "organization", {}).status_code == 405


def test_the_tiers_are_ticked_on_the_organizations_page(api: Api) -> None:
    pages = Client()
    pages.force_login(api.user)
    page = f"/admin/teams/organization/{api.organization.pk}/change/"
    fields = {"slug": api.organization.slug, "name": "Acme Corp", "time_zone": "UTC", "fiscal_month_start": 1}

    refused = pages.post(page, fields | {"fault_tolerant_tiers": [], "capless_tiers": ["critical"]})
    assert "must be fault tolerant too" in refused.content.decode()
    saved = pages.post(page, fields | {"fault_tolerant_tiers": ["critical", "normal"], "capless_tiers": ["critical"]})

    assert saved.status_code == 302
    api.organization.refresh_from_db()
    assert api.organization.fault_tolerant_tiers == ["critical", "normal"]
    assert api.policy().capless_tiers == ("critical",)


# Where a team's calls may go.


def refused(api: Api, path: str, body: dict[str, Any]) -> tuple[str, str]:
    """The one field that a 400 names, and what it says of it."""
    answer = api.call("PATCH", path, body)
    assert answer.status_code == 400, answer.content
    [error] = answer.json()["errors"]
    return error["field"], error["message"]


def test_where_a_teams_calls_may_go_is_in_the_policy_when_its_change_answers(api: Api) -> None:
    for name in ("openai", "azure-eu"):
        api.provider(name)
    created = api.team("search", providers=["azure-eu"], regions=["westeurope"])
    assert (created["providers"], created["preferred_providers"], created["regions"]) == (
        ["azure-eu"],
        [],
        ["westeurope"],
    )

    api.change("teams/search", providers=None, preferred_providers=["openai"], regions=None)

    assert api.policy().teams == (Team(id="search", tier="normal", preferred_providers=("openai",)),)
    api.change("teams/search", providers=["azure-eu", "openai"], regions=["eu", "us"])
    [team] = api.policy().teams
    assert (team.providers, team.regions) == (("azure-eu", "openai"), ("eu", "us"))


def test_a_rule_for_a_team_that_could_do_nothing_is_refused(api: Api) -> None:
    for name in ("openai", "azure-eu"):
        api.provider(name)
    api.team("search")
    api.change("organization", regions=["eu"])

    for body, field, words in (
        ({"providers": ["gone"]}, "providers", "Unknown providers: gone."),
        ({"providers": ["openai", "openai"]}, "providers", "Name each provider once."),
        ({"preferred_providers": ["gone"]}, "preferred_providers", "Unknown providers: gone."),
        (
            {"providers": ["openai"], "preferred_providers": ["azure-eu"]},
            "preferred_providers",
            "The team may not use azure-eu, so this would have no effect.",
        ),
        ({"regions": []}, None, "Name at least one region in regions"),
        ({"regions": ["West Europe"]}, "regions", "lower-case"),
        (
            {"regions": ["us"]},
            "regions",
            "Nothing would be left to search: its data must stay in us, all teams' in eu.",
        ),
    ):
        told = refused(api, "teams/search", body)
        assert told[0] == field
        assert words in told[1]
    assert api.policy().teams == (Team(id="search", tier="normal"),)


def test_the_organizations_rules_are_in_the_policy_when_their_change_answers(api: Api) -> None:
    api.model()
    shown = api.change("organization", regions=["eu", "us"], tier_models={"experimental": ["gpt-4o-mini"]})
    assert (shown["regions"], shown["tier_models"]) == (["eu", "us"], {"experimental": ["gpt-4o-mini"]})
    assert api.policy().regions == ("eu", "us")
    assert api.policy().tier_models == {"experimental": ("gpt-4o-mini",)}
    api.team("search", regions=["us"])

    assert refused(api, "organization", {"regions": ["eu"]}) == (
        "regions",
        "Nothing would be left to search: its data must stay in us, all teams' in eu.",
    )
    assert refused(api, "organization", {"tier_models": {"gold": []}}) == ("tier_models", "No such tier: gold.")
    assert refused(api, "organization", {"tier_models": {"critical": ["gone"]}})[1] == "Unknown models: gone."
    api.change("organization", regions=None, tier_models={"critical": []})
    assert (api.policy().regions, api.policy().tier_models) == (None, {"critical": ()})


def test_two_rules_at_the_same_moment_never_leave_nothing_to_a_team(api: Api) -> None:
    api.team("search")

    answers = all_at_once(
        [
            partial(api.call, "PATCH", "organization", {"regions": ["eu"]}),
            partial(api.call, "PATCH", "teams/search", {"regions": ["us"]}),
        ]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 400]


def test_alice_says_on_the_pages_where_calls_may_go(api: Api, pages: Client) -> None:
    api.model()
    for name in ("openai", "azure-eu"):
        api.provider(name)
    api.team("search")
    team_page = f"/admin/teams/team/{TeamRow.objects.get().pk}/change/"
    of_team = {
        "name": "Search",
        "tier": "normal",
        "regions": "westeurope, francecentral",
        "allowed_providers": ["azure-eu"],
        "preferred_providers_1": "azure-eu",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    organization_page = f"/admin/teams/organization/{api.organization.pk}/change/"
    of_organization = {
        "name": "Acme",
        "time_zone": "Europe/Berlin",
        "fiscal_month_start": "1",
        "regions": "westeurope",
        "tier_models_2": ["gpt-4o-mini"],
    }

    post(pages, team_page, of_team)
    post(pages, organization_page, of_organization)

    [team] = api.policy().teams
    assert (team.regions, team.providers, team.preferred_providers) == (
        ("westeurope", "francecentral"),
        ("azure-eu",),
        ("azure-eu",),
    )
    assert (api.policy().regions, api.policy().tier_models) == (("westeurope",), {"experimental": ("gpt-4o-mini",)})
    assert "azure-eu; first azure-eu" in pages.get("/admin/teams/team/").content.decode()
    assert "would have no effect" in shown_errors(pages, team_page, of_team | {"preferred_providers_0": "openai"})
    assert "Nothing would be left" in shown_errors(pages, organization_page, of_organization | {"regions": "us"})
