"""Which deployments may serve a request, and in which order they are tried."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
import pytest

from kong_plugins.llm.errors import ModelNotAllowed, ModelNotFound
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.release import Deployment, Model, PolicyDocument, Team
from kong_plugins.llm.routes import PolicyBehind, RoutingTable
from tests.llm.cast import deployment, policy, principal

MODEL: Final = Model(
    name="mini", context_window_tokens=1000, max_output_tokens=100, default_output_tokens=10, deployments=()
)


def document(*deployments: Deployment) -> PolicyDocument:
    """A policy whose only model has these deployments."""
    model = msgspec.structs.replace(MODEL, deployments=tuple(each.id for each in deployments))
    return policy(models=(model,), deployments=deployments)


def tried(table: RoutingTable, who: Principal, name: str = "mini", *, request_id: str = "1") -> list[str]:
    found = table.candidates(who, name, "openai_chat", request_id=request_id)
    return [candidate.deployment.id for candidate in found]


def test_a_models_deployments_in_this_wire_format_are_tried_in_their_order() -> None:
    last, first = deployment(id="last", order=2), deployment(id="first", order=1)
    other_format = deployment(id="other", protocol="anthropic_messages")

    assert tried(RoutingTable(document(last, other_format, first)), principal()) == ["first", "last"]


@pytest.mark.parametrize("name", ["no-such-model", "MINI", "mini ", "", "\ud800"])
def test_a_model_is_asked_for_by_its_exact_name(name: str) -> None:
    with pytest.raises(ModelNotFound):
        tried(RoutingTable(policy()), principal(), name)


def test_a_model_without_a_deployment_in_this_wire_format_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="not served"):
        tried(RoutingTable(policy()), principal(team="support"), "secret")


def test_a_team_that_the_policy_does_not_know_waits_for_the_next_one() -> None:
    table = RoutingTable(policy())

    for ask in (lambda who: tried(table, who), table.usable_models, lambda who: table.may_use(who, "mini")):
        with pytest.raises(PolicyBehind):
            ask(principal(team="newcomers"))


def test_deployments_of_one_turn_share_the_calls_exactly_by_their_weights() -> None:
    weights = {"seven": 7, "two": 2, "one": 1}
    table = RoutingTable(document(*(deployment(id=name, weight=weight) for name, weight in weights.items())))
    calls = 20_000

    first = Counter(tried(table, principal(), request_id=f"call-{number}")[0] for number in range(calls))

    # Four standard deviations of the binomial distribution; the lots of these ids are always the same.
    for name, weight in weights.items():
        share = weight / 10
        assert abs(first[name] - calls * share) < 4 * (calls * share * (1 - share)) ** 0.5


def test_where_the_first_choice_cannot_serve_the_others_share_its_calls_by_their_weights_too() -> None:
    table = RoutingTable(document(*(deployment(id=name, weight=int(name)) for name in ("6", "3", "1"))))
    orders = [tried(table, principal(), request_id=f"call-{number}") for number in range(10_000)]

    second = Counter(order[1] for order in orders if order[0] == "6")

    assert 0.72 < second["3"] / second.total() < 0.78
    assert all(sorted(order) == ["1", "3", "6"] for order in orders)


def test_a_request_meets_the_same_order_each_time_and_whatever_else_the_policy_says() -> None:
    pair = deployment(id="one"), deployment(id="two")
    table, again = RoutingTable(document(*pair)), RoutingTable(document(*reversed(pair), deployment(id="three")))

    for number in range(50):
        order = tried(table, principal(), request_id=f"call-{number}")
        assert tried(table, principal(), request_id=f"call-{number}") == order
        assert [name for name in tried(again, principal(), request_id=f"call-{number}") if name != "three"] == order


def test_a_weight_moves_no_call_past_the_order() -> None:
    table = RoutingTable(document(deployment(id="first", order=0, weight=1), deployment(id="last", order=1, weight=99)))

    assert {tried(table, principal(), request_id=f"call-{number}")[0] for number in range(200)} == {"first"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"team": {"models": ("large",)}}, "Your team may not use the model 'mini'."),
        ({"key": {"models": ("large",)}}, "This key may not use the model 'mini'."),
        ({"tier_models": {"normal": ()}}, "A key of the tier normal may not use the model 'mini'."),
        (
            {"regions": ("eu-west", "eu-central")},
            "Your data must stay in eu-central or eu-west, where nobody serves the model 'mini' on this path.",
        ),
        (
            {"regions": ("eu",), "team": {"regions": ("us",)}},
            "Your data must stay in no region, where nobody serves the model 'mini' on this path.",
        ),
        (
            {"team": {"providers": ("azure", "google")}},
            "None of your team's providers (azure, google) serves the model 'mini' on this path.",
        ),
        (
            {"regions": ("us",), "team": {"providers": ()}},
            "None of your team's providers (none) serves the model 'mini' on this path in us, "
            "where your data must stay.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_the_answer_names_the_rule_that_leaves_nothing(changes: dict[str, Any], words: str) -> None:
    team = Team(id="search", tier="normal", **changes.pop("team", {}))
    who = principal(**changes.pop("key", {}))
    of_us = document(deployment(region="us"))
    table = RoutingTable(msgspec.structs.replace(of_us, teams=(team,), **changes))

    with pytest.raises(ModelNotAllowed) as caught:
        tried(table, who)

    assert caught.value.message == words
