"""Our prices agree with genai-prices on every model in its data, for a grid of usages, at every tier and time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider

from control_plane.catalog.listed_prices import NoListPrice, listed_prices, vendor_at
from control_plane.catalog.price_book import price_of
from kong_plugins.llm.prices import Price, cost_nusd
from kong_plugins.llm.usage import Usage

PROVIDERS: Final = get_snapshot().providers
# Their names of what is counted, and ours.
TOKENS: Final = {
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "cache_read_audio_tokens": "cache_audio_read_tokens",
    "input_image_tokens": "input_image_tokens",
    "cache_read_image_tokens": "cache_image_read_tokens",
    "input_video_tokens": "input_video_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "output_image_tokens": "output_image_tokens",
    "output_video_tokens": "output_video_tokens",
}
PIECES: Final = {
    "web_search": ("web_searches",),
    "file_search": ("storage_searches",),
    "character": ("input_characters",),
    "second": ("audio_seconds", "input_audio_seconds"),
    "page": ("input_document_pages",),
    "page:annotated": ("input_annotated_document_pages",),
    "message": ("input_text_messages",),
}
GRID: Final = [
    Usage(input_tokens=1, output_tokens=1),
    Usage(input_tokens=128_000, cache_read_tokens=100_000, output_tokens=777, reasoning_tokens=700),
    Usage(input_tokens=199_999, cache_write_tokens=5_000, output_tokens=4_096),
    Usage(input_tokens=200_000, cache_read_tokens=7, cache_write_tokens=30, cache_write_1h_tokens=11, output_tokens=3),
    Usage(input_tokens=200_001, cache_read_tokens=7, output_tokens=31),
    Usage(input_tokens=272_001, cache_write_tokens=99, cache_write_1h_tokens=99, output_tokens=64_000),
    Usage(input_tokens=1_000_003, output_tokens=13, reasoning_tokens=13),
    Usage(
        input_tokens=900, cache_read_tokens=300, input_audio_tokens=500, cache_read_audio_tokens=200, output_tokens=9
    ),
    Usage(
        input_tokens=900, cache_read_tokens=300, input_image_tokens=500, cache_read_image_tokens=200, output_tokens=9
    ),
    Usage(input_tokens=5_000, input_video_tokens=4_000, output_tokens=9_000, output_video_tokens=8_000),
    Usage(input_tokens=77, output_tokens=9_000, output_audio_tokens=5_000, output_image_tokens=3_000),
    Usage(units={"web_search": 3, "file_search": 2, "character": 4_001, "second": 61, "page": 7, "page:annotated": 1}),
]
# What they charge for and a usage of ours does not count.
NOT_EXPRESSED: Final = {("perplexity", "sonar-deep-research")}
CONTEXTS: Final[dict[str, dict[str, str]]] = {
    "standard": {},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "batch": {"processing": "batch"},
}
NOON: Final = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def models() -> Iterator[tuple[Provider, ModelInfo]]:
    return ((provider, model) for provider in PROVIDERS for model in provider.models)


def is_found_by_its_id(provider: Provider, model: ModelInfo) -> bool:
    try:
        return get_snapshot().find_provider_model(model.id, None, provider.id, None)[1] is model
    except LookupError:
        return False


def their_usage(usage: Usage) -> TheirUsage:
    counts = {theirs: getattr(usage, ours) for ours, theirs in TOKENS.items() if getattr(usage, ours)}
    pieces = {theirs: count for name, count in usage.units.items() for theirs in PIECES[name]}
    if pieces:
        # They count an annotated page among the others too.
        pieces["input_document_pages"] += pieces["input_annotated_document_pages"]
    return TheirUsage(**counts, **pieces)


def difference_nusd(price: Price, usage: Usage, tier: str, theirs_usd: Decimal) -> int:
    """By how much we charge more than they do, rounded up."""
    return cost_nusd(price, usage, tier) - int((theirs_usd * 10**9).to_integral_value(ROUND_CEILING))


def test_a_call_costs_what_genai_prices_says_for_every_model_that_it_knows() -> None:
    compared, refused = 0, {}
    for provider, model in models():
        if not is_found_by_its_id(provider, model):
            continue
        try:
            listed = listed_prices(provider.id, model.id)
        except NoListPrice as reason:
            refused[provider.id, model.id] = str(reason)
            continue
        in_force = [each for each in listed if each.since is None or each.since <= NOON][-1]
        found_price = price_of(in_force.amounts)
        for at in (NOON, NOON.replace(hour=2), NOON.replace(hour=20)):
            price = found_price.at(int(at.timestamp()) * 1000)
            for tier, context in CONTEXTS.items():
                if tier != "standard" and all(each.service_tier != tier for each in price.variants):
                    continue
                for usage in GRID:
                    theirs = model.calc_price(
                        their_usage(usage), provider, genai_request_timestamp=at, price_context=context
                    )
                    # A rate that is finer than ours is rounded up by less than a nano-dollar per million.
                    assert 0 <= difference_nusd(price, usage, tier, theirs.total_price) <= 1, (model.id, tier, usage)
                    compared += 1
    assert compared > 50_000
    assert {each for each, reason in refused.items() if "without a price" not in reason} == NOT_EXPRESSED
    assert len(refused) < 300


def test_a_price_that_has_changed_is_listed_with_its_dates() -> None:
    listed = listed_prices("openai", "o3")

    dates = [each.since and f"{each.since:%Y-%m-%d}" for each in listed]
    assert dates == [None, "2025-06-10", "2026-10-12", "2026-10-14"]
    assert [each.amounts["input_nusd"] for each in listed] == [10 * 10**9, 2 * 10**9, 2 * 10**9, 2 * 10**9]
    for each in listed:
        at = (each.since or datetime(2025, 1, 1, tzinfo=UTC)) + timedelta(hours=5)
        theirs = get_snapshot().calc(TheirUsage(input_tokens=10**6), "o3", "openai", None, at)
        usage = Usage(input_tokens=10**6)
        assert difference_nusd(price_of(each.amounts), usage, "standard", theirs.total_price) == 0


@pytest.mark.parametrize(
    ("vendor", "model", "counts", "tier", "usd"),
    [
        # https://platform.openai.com/docs/pricing: gpt-4o $2.50, cached $1.25, output $10.
        (
            "openai",
            "gpt-4o",
            {"input_tokens": 10_000, "cache_read_tokens": 2_000, "output_tokens": 500},
            "standard",
            "0.0275",
        ),
        # The same page: gpt-5 at flex is half of $1.25 and $10, at priority twice.
        ("openai", "gpt-5", {"input_tokens": 10_000, "output_tokens": 1_000}, "flex", "0.01125"),
        ("openai", "gpt-5", {"input_tokens": 10_000, "output_tokens": 1_000}, "priority", "0.045"),
        # The same page: a web search is $10 per 1,000 calls.
        (
            "openai",
            "gpt-4o",
            {"input_tokens": 1_000, "output_tokens": 100, "units": {"web_search": 2}},
            "standard",
            "0.0235",
        ),
        # https://docs.claude.com/en/docs/build-with-claude/prompt-caching: Sonnet 4.5 $3; writes 1.25 and 2 times it,
        # reads a tenth; $15 output.
        (
            "anthropic",
            "claude-sonnet-4-5",
            {
                "input_tokens": 100_000,
                "cache_read_tokens": 50_000,
                "cache_write_tokens": 30_000,
                "cache_write_1h_tokens": 10_000,
                "output_tokens": 1_000,
            },
            "standard",
            "0.225",
        ),
        # https://docs.claude.com/en/docs/about-claude/pricing: above 200K input tokens $6 and $22.50, for all of them.
        ("anthropic", "claude-sonnet-4-5", {"input_tokens": 200_001, "output_tokens": 10_000}, "standard", "1.425006"),
        # https://ai.google.dev/gemini-api/docs/pricing: 2.5 Pro $1.25 and $10 up to 200K, $2.50 and $15 above.
        ("google", "gemini-2.5-pro", {"input_tokens": 200_000, "output_tokens": 1_000}, "standard", "0.26"),
        ("google", "gemini-2.5-pro", {"input_tokens": 300_000, "output_tokens": 1_000}, "standard", "0.765"),
        # https://aws.amazon.com/bedrock/pricing/: Sonnet 4.5 by a regional profile, 10 % above the global one.
        (
            "aws",
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            {"input_tokens": 10_000, "output_tokens": 1_000},
            "standard",
            "0.0495",
        ),
    ],
)
def test_the_vendors_own_published_prices_come_out_by_hand(
    vendor: str, model: str, counts: dict[str, Any], tier: str, usd: str
) -> None:
    price = price_of(listed_prices(vendor, model)[-1].amounts)

    assert cost_nusd(price, Usage(**counts), tier) == int(Decimal(usd) * 10**9)


def test_what_is_not_listed_has_no_price_and_never_one_of_nothing() -> None:
    for vendor, model, reason in [
        ("openai", "my-own-model", "not among"),
        ("nobody", "gpt-4o", "not among"),
        ("perplexity", "sonar-deep-research", "by hand"),
    ]:
        with pytest.raises(NoListPrice, match=reason):
            listed_prices(vendor, model)


def test_a_vendor_is_known_by_its_address() -> None:
    assert vendor_at("https://api.openai.com/v1") == "openai"
    assert vendor_at("http://127.0.0.1:8000/v1") is None
