"""The models of the demo and what they cost, as published by OpenAI: `models.json`, read as it stands."""

from __future__ import annotations

from importlib.resources import files

import msgspec


class PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens, as decimal text so that no float ever touches them."""

    input_usd_per_mtok: str
    cache_read_usd_per_mtok: str
    cache_write_usd_per_mtok: str
    output_usd_per_mtok: str


class DemoModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model under the name that clients ask for; answers name the dated `snapshot`."""

    name: str
    snapshot: str
    context_window_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    price: PriceList


def demo_models() -> list[DemoModel]:
    """Every model that the simulated provider offers."""
    return msgspec.json.decode(files("demo").joinpath("models.json").read_bytes(), type=list[DemoModel])
