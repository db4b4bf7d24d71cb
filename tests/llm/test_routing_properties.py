"""Whatever else a policy says: data stays where it must, and a key is never given what it may not use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.errors import ModelNotAllowed, ModelNotFound
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.release import Deployment, Model, PolicyDocument, Team
from kong_plugins.llm.routes import Candidate, RoutingTable
from tests.llm.cast import deployment, policy, principal

NAMES: Final = ("large", "twin", "small", "tiny")
ALIASES: Final = ("best", "fast")
PROVIDERS: Final = ("openai", "azure", "google")
REGIONS: Final = ("eu", "us")
PROTOCOLS: Final = ("openai_chat", "anthropic_messages")


def some(values: Iterable[str], *, most: int = 4) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(list(values)), unique=True, max_size=most).map(tuple)


def rule(values: Iterable[str]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | some(values)


def meanings() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(ALIASES), st.sampled_from([*NAMES, "gone"]))


@st.composite
def models(draw: st.DrawFn) -> tuple[tuple[Model, ...], tuple[Deployment, ...]]:
    deployments: list[Deployment] = []
    found: list[Model] = []
    for name in NAMES:
        own = [
            deployment(
                id=f"{name}-{number}",
                provider=draw(st.sampled_from(PROVIDERS)),
                region=draw(st.sampled_from([*REGIONS, None])),
                protocol=draw(st.sampled_from(PROTOCOLS)),
                order=draw(st.integers(0, 2)),
                weight=draw(st.integers(1, 9)),
            )
            for number in range(draw(st.integers(0, 4)))
        ]
        others = draw(st.permutations([other for other in NAMES if other != name]))
        cuts = sorted(draw(st.tuples(st.integers(0, 3), st.integers(0, 3))))
        deployments += own
        found.append(
            Model(
                name=name,
                context_window_tokens=1000,
                max_output_tokens=100,
                default_output_tokens=10,
                deployments=tuple(each.id for each in own),
                fall_back_to=tuple(others[: cuts[0]]),
                degrade_to=tuple(others[cuts[0] : cuts[1]]),
            )
        )
    return tuple(found), tuple(deployments)


@st.composite
def policies(draw: st.DrawFn) -> PolicyDocument:
    all_models, deployments = draw(models())
    team = Team(
        id="search",
        tier="normal",
        models=draw(rule(NAMES)),
        providers=draw(rule(PROVIDERS)),
        preferred_providers=draw(some(PROVIDERS)),
        regions=draw(rule(REGIONS)),
        aliases=draw(meanings()),
    )
    fields: dict[str, Any] = {
        "models": all_models,
        "deployments": deployments,
        "teams": (team,),
        "aliases": draw(meanings()),
        "regions": draw(rule(REGIONS)),
        "tier_models": draw(st.dictionaries(st.sampled_from(["normal", "experimental"]), some(NAMES))),
    }
    return policy(**fields)


def found(document: PolicyDocument, who: Principal, name: str, protocol: str = "openai_chat") -> tuple[Candidate, ...]:
    """The candidates, none where there is a refusal."""
    try:
        return RoutingTable(document).candidates(who, name, protocol, request_id="any")
    except (ModelNotFound, ModelNotAllowed):
        return ()


CALLERS: Final = st.builds(principal, models=rule(NAMES), tier=st.sampled_from(["normal", "experimental"]))
ASKED: Final = st.sampled_from([*NAMES, *ALIASES, "gone"])


@given(policies(), CALLERS, ASKED)
def test_data_stays_where_organization_and_team_say(document: PolicyDocument, who: Principal, asked_for: str) -> None:
    [team] = document.teams
    for candidate in found(document, who, asked_for):
        for regions in (document.regions, team.regions):
            assert regions is None or candidate.deployment.region in regions


@given(policies(), CALLERS, ASKED)
def test_nobody_is_given_what_they_may_not_use(document: PolicyDocument, who: Principal, asked_for: str) -> None:
    [team] = document.teams
    for candidate in found(document, who, asked_for):
        for names in (team.models, who.models, document.tier_models.get(who.tier)):
            assert names is None or candidate.model.name in names
        assert team.providers is None or candidate.deployment.provider in team.providers
        assert candidate.deployment.protocol == "openai_chat"
        assert candidate.deployment.id in candidate.model.deployments


@given(policies(), CALLERS, ASKED)
def test_nothing_is_left_out_that_every_rule_lets_pass(
    document: PolicyDocument, who: Principal, asked_for: str
) -> None:
    [team] = document.teams
    name = asked_for if asked_for in NAMES else (document.aliases | team.aliases).get(asked_for)

    def passes(model: str, each: Deployment) -> bool:
        return all(
            allowed is None or value in allowed
            for value, allowed in (
                (model, team.models),
                (model, who.models),
                (model, document.tier_models.get(who.tier)),
                (each.provider, team.providers),
                (each.region, team.regions),
                (each.region, document.regions),
                (each.protocol, ("openai_chat",)),
            )
        )

    def passing(names: Iterable[str]) -> set[str]:
        return {each.id for each in document.deployments if (of := each.id[:-2]) in names and passes(of, each)}

    asked = next((model for model in document.models if model.name == name), None)
    own = passing([asked.name]) if asked else set()
    expected = own | passing((*asked.fall_back_to, *asked.degrade_to)) if asked and own else set()

    tried = [candidate.deployment.id for candidate in found(document, who, asked_for)]

    assert sorted(tried) == sorted(expected)


@given(policies(), CALLERS, ASKED)
def test_the_models_own_come_first_and_the_lesser_ones_last(
    document: PolicyDocument, who: Principal, asked_for: str
) -> None:
    [team] = document.teams
    candidates = found(document, who, asked_for)
    kinds = [candidate.kind for candidate in candidates]

    assert kinds == sorted(kinds, key=("own", "fallback", "lesser").index)
    assert kinds[:1] in ([], ["own"])
    for candidate in candidates:
        assert candidate.in_place_of == (None if candidate.kind == "own" else candidates[0].model.name)
    preferred = [*team.preferred_providers, *(name for name in PROVIDERS if name not in team.preferred_providers)]
    last = len(team.preferred_providers)
    for model in {candidate.model.name for candidate in candidates}:
        of_model = [each.deployment for each in candidates if each.model.name == model]
        turns = [(min(preferred.index(each.provider), last), each.order) for each in of_model]
        assert turns == sorted(turns)


@given(policies(), CALLERS)
def test_the_list_of_models_has_exactly_the_names_that_lead_to_one(document: PolicyDocument, who: Principal) -> None:
    listed = [name for name, _ in RoutingTable(document).usable_models(who)]

    reached = {
        name
        for name in (*NAMES, *ALIASES, "gone")
        if any(found(document, who, name, protocol) for protocol in PROTOCOLS)
    }
    assert listed == sorted(reached)


@pytest.mark.parametrize("region", [None, "eu-central"])
def test_a_deployment_without_the_region_itself_never_qualifies(region: str | None) -> None:
    document = policy(deployments=(deployment(region=region),), regions=("eu",))

    with pytest.raises(ModelNotAllowed, match="must stay in eu"):
        RoutingTable(document).candidates(principal(), "mini", "openai_chat", request_id="any")
