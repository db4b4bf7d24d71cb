"""The models of the demo and what they cost, as published by OpenAI and Anthropic: `models.json`, read as it stands."""

from __future__ import annotations

from importlib.resources import files

import msgspec


class PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens, or per piece, as decimal text so that no float ever touches them."""

    input_usd_per_mtok: str
    cache_read_usd_per_mtok: str
    cache_write_usd_per_mtok: str
    output_usd_per_mtok: str
    cache_write_1h_usd_per_mtok: str | None = None
    input_audio_usd_per_mtok: str | None = None
    input_image_usd_per_mtok: str | None = None
    usd_per_piece: dict[str, str] = {}


class DemoModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model under the name that clients ask for, in the words of each of the `protocols`; answers name the dated
    `snapshot`. `base_path` is where its paths begin at the provider."""

    name: str
    snapshot: str
    context_window_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    price: PriceList
    base_path: str = "/v1"
    protocols: tuple[str, ...] = ("openai_chat", "openai_responses")


def demo_models() -> list[DemoModel]:
    """Every model that the simulated provider offers."""
    return msgspec.json.decode(files("demo").joinpath("models.json").read_bytes(), type=list[DemoModel])
