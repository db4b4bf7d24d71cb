"""Which models a key may use, in the form in which OpenAI's SDKs ask for them.

Source: OpenAI's API reference, "List models" and "Retrieve model".
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec

from kong_plugins.llm.errors import ModelNotFound
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.routes import RoutingTable

_LIST_PATH: Final = "/v1/models"


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, or an alias of one. `owned_by` is the provider that is tried first, or that gets most of the calls;
    when it was created is not known."""

    id: str
    owned_by: str
    object: str = "model"
    created: int = 0


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by name."""

    data: tuple[ListedModel, ...]
    object: str = "list"


def models_at(path: str, table: RoutingTable, principal: Principal) -> ModelList | ListedModel:
    """What stands at a path: the list, or below it a model by its name.

    Raises:
        ModelNotFound: there is no such model, or the key may not use it.
        PolicyBehind: the policy does not know the key's team.
    """
    listed = tuple(ListedModel(id=name, owned_by=provider) for name, provider in table.usable_models(principal))
    name = unquote(path.removeprefix(_LIST_PATH).removeprefix("/"))
    if not name:
        return ModelList(data=listed)
    for model in listed:
        if model.id == name:
            return model
    raise ModelNotFound(f"The model {name[:64]!r} does not exist.", param="model")
