"""Which deployments may serve a request."""

from __future__ import annotations

import pytest

from kong_plugins.llm.errors import ModelNotAllowed, ModelNotFound
from kong_plugins.llm.release import Model
from kong_plugins.llm.routes import PolicyBehind, RoutingTable
from tests.llm.cast import deployment, policy, principal


def test_a_models_deployments_come_in_the_order_in_which_they_are_tried() -> None:
    spare = deployment(id="mini-at-spare", provider="spare")
    other_format = deployment(id="mini-at-other", protocol="anthropic_messages")
    model = Model(
        name="mini",
        context_window_tokens=1000,
        max_output_tokens=100,
        default_output_tokens=10,
        deployments=("mini-at-spare", "mini-at-other", "mini-at-openai"),
    )
    table = RoutingTable(policy(models=(model,), deployments=(deployment(), other_format, spare)))

    found = table.candidates(principal(), "mini", "openai_chat")

    assert [candidate.deployment.id for candidate in found] == ["mini-at-spare", "mini-at-openai"]
    assert {candidate.model for candidate in found} == {model}


@pytest.mark.parametrize("name", ["no-such-model", "MINI", "mini ", "", "\ud800"])
def test_a_model_is_asked_for_by_its_exact_name(name: str) -> None:
    with pytest.raises(ModelNotFound):
        RoutingTable(policy()).candidates(principal(), name, "openai_chat")


def test_a_model_without_a_deployment_in_this_wire_format_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="not served"):
        RoutingTable(policy()).candidates(principal(team="support"), "secret", "openai_chat")


def test_a_model_that_the_team_or_the_key_may_not_use_is_not_allowed() -> None:
    table = RoutingTable(policy())

    with pytest.raises(ModelNotAllowed):
        table.candidates(principal(team="search"), "secret", "openai_chat")
    with pytest.raises(ModelNotAllowed):
        table.candidates(principal(team="support", models=("secret",)), "mini", "openai_chat")
    assert table.candidates(principal(team="support", models=("mini",)), "mini", "openai_chat")


def test_a_team_that_the_policy_does_not_know_waits_for_the_next_one() -> None:
    with pytest.raises(PolicyBehind):
        RoutingTable(policy()).candidates(principal(team="newcomers"), "mini", "openai_chat")
