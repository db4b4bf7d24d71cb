"""Which models a key may use: those that it could call, and no other name is ever told."""

from __future__ import annotations

import msgspec
import pytest

from kong_plugins.llm.errors import ModelNotFound
from kong_plugins.llm.model_list import ListedModel, ModelList, models_at
from kong_plugins.llm.release import Model
from kong_plugins.llm.routes import RoutingTable
from tests.llm.cast import deployment, policy, principal

NAMES = ("mini", "meta/llama 3", "large")


def model(name: str, *deployments: str) -> Model:
    return Model(
        name=name,
        context_window_tokens=1000,
        max_output_tokens=100,
        default_output_tokens=10,
        deployments=deployments,
    )


TABLE = RoutingTable(
    msgspec.structs.replace(
        policy(
            deployments=(deployment(), deployment(id="spare", provider="spare", weight=2)),
            models=(*(model(name, "spare", "mini-at-openai") for name in NAMES), model("not-served")),
        ),
        teams=policy().teams,
    )
)
SUPPORT = principal(team="support")


def test_all_served_models_are_listed_by_name_with_the_provider_that_gets_most_of_the_calls() -> None:
    listed = models_at("/v1/models", TABLE, SUPPORT)

    assert isinstance(listed, ModelList)
    assert [each.id for each in listed.data] == ["large", "meta/llama 3", "mini"]
    assert {each.owned_by for each in listed.data} == {"spare"}


def test_a_key_sees_what_it_and_its_team_may_use() -> None:
    search = models_at("/v1/models", TABLE, principal())
    narrow = models_at("/v1/models", TABLE, principal(team="support", models=("large",)))

    assert isinstance(search, ModelList)
    assert isinstance(narrow, ModelList)
    assert [each.id for each in search.data] == ["mini"]
    assert [each.id for each in narrow.data] == ["large"]


@pytest.mark.parametrize("path", ["/v1/models/meta/llama 3", "/v1/models/meta%2Fllama%203"])
def test_a_model_is_found_by_its_name_however_the_path_spells_it(path: str) -> None:
    found = models_at(path, TABLE, SUPPORT)

    assert isinstance(found, ListedModel)
    assert found.id == "meta/llama 3"


@pytest.mark.parametrize("name", ["large", "not-served", "unknown", "mini/"])
def test_what_the_key_may_not_use_does_not_exist(name: str) -> None:
    with pytest.raises(ModelNotFound):
        models_at(f"/v1/models/{name}", TABLE, principal())


def test_the_answer_is_what_openais_sdk_reads() -> None:
    listed = msgspec.to_builtins(models_at("/v1/models", TABLE, principal()))

    assert listed == {
        "object": "list",
        "data": ({"id": "mini", "object": "model", "created": 0, "owned_by": "spare"},),
    }
