"""Teams and organizations, and what gateways learn of them."""

from __future__ import annotations

from functools import partial

from control_plane.budgets.models import BudgetPeriod
from control_plane.teams.models import Team as TeamRow
from control_plane.teams.services import change_organization
from kong_plugins.llm.release import Team
from tests.control_plane.cast import Api, all_at_once


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


def test_the_time_zone_is_in_the_policy_and_running_periods_keep_their_names(api: Api) -> None:
    api.team("search")
    api.budget()
    names = set(BudgetPeriod.objects.values_list("name", flat=True))

    change_organization(api.organization.pk, actor="alice", time_zone="America/New_York")

    assert api.policy().time_zone == "America/New_York"
    assert set(BudgetPeriod.objects.values_list("name", flat=True)) == names
