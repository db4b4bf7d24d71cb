"""A call's cost is exact, rounded up once, and never more than the hold for its bounds."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.prices import (
    TOKEN_RATES,
    Bounds,
    Price,
    Rates,
    Variant,
    affordable_output_tokens,
    cost_nusd,
    worst_cost_nusd,
)
from kong_plugins.llm.usage import Usage

FLAT: Final[dict[str, Any]] = {"input_nusd": 100, "cache_read_nusd": 10, "cache_write_nusd": 125, "output_nusd": 500}
TIERS: Final = ("standard", "priority", "flex")
UNITS: Final = ("request", "web_search", "image", "image:high", "image:high:1024x1024")
MILLION: Final = 1_000_000

amounts = st.integers(0, 10**12)
rates: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    dict.fromkeys(FLAT, amounts),
    optional=dict.fromkeys([name for name in TOKEN_RATES if name not in FLAT], amounts)
    | {"unit_nusd": st.dictionaries(st.sampled_from(UNITS), amounts)},
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """A price with any rates, for some of the tiers, and for long prompts in some of them."""
    above_tokens = draw(st.sampled_from([1, 200_000, 5 * MILLION]))
    variants = []
    for tier in draw(st.lists(st.sampled_from(TIERS), unique=True)):
        steps = [0, above_tokens] if draw(st.booleans()) else [0]
        variants += [
            Variant(service_tier=tier, above_input_tokens=above, **draw(rates))
            for above in steps
            if above or tier != "standard"
        ]
    return Price(version="v1", variants=tuple(variants), **draw(rates))


@st.composite
def usages(draw: st.DrawFn, *, most_units: int = 20) -> Usage:
    def part_of(whole: int) -> int:
        return draw(st.integers(0, whole))

    input_tokens, output_tokens = part_of(10 * MILLION), part_of(10 * MILLION)
    cache_read_tokens = part_of(input_tokens)
    cache_write_tokens = part_of(input_tokens - cache_read_tokens)
    input_audio_tokens = part_of(input_tokens)
    input_image_tokens = part_of(input_tokens - input_audio_tokens)
    cached_audio_tokens = part_of(min(cache_read_tokens, input_audio_tokens))
    output_audio_tokens = part_of(output_tokens)
    output_image_tokens = part_of(output_tokens - output_audio_tokens)
    return Usage(
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=part_of(cache_write_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=part_of(output_tokens),
        input_audio_tokens=input_audio_tokens,
        cache_read_audio_tokens=cached_audio_tokens,
        input_image_tokens=input_image_tokens,
        cache_read_image_tokens=part_of(min(cache_read_tokens - cached_audio_tokens, input_image_tokens)),
        input_video_tokens=part_of(input_tokens - input_audio_tokens - input_image_tokens),
        output_audio_tokens=output_audio_tokens,
        output_image_tokens=output_image_tokens,
        output_video_tokens=part_of(output_tokens - output_audio_tokens - output_image_tokens),
        units=draw(st.dictionaries(st.sampled_from(UNITS), st.integers(0, most_units))),
    )


def test_a_small_call_costs_what_the_price_list_says() -> None:
    price = Price(
        version="v1",
        input_nusd=150_000_000,
        cache_read_nusd=75_000_000,
        cache_write_nusd=150_000_000,
        output_nusd=600_000_000,
    )

    assert cost_nusd(price, Usage(input_tokens=11, cache_read_tokens=1, output_tokens=7)) == 1500 + 75 + 4200


@pytest.mark.parametrize(
    ("own", "usage", "scaled"),
    [
        ({}, {"input_tokens": 10, "cache_read_tokens": 4}, 6 * 100 + 4 * 10),
        ({}, {"input_tokens": 10, "cache_write_tokens": 5, "cache_write_1h_tokens": 2}, 5 * 100 + 3 * 125 + 2 * 200),
        ({"cache_write_1h_nusd": 7}, {"input_tokens": 2, "cache_write_tokens": 2, "cache_write_1h_tokens": 2}, 2 * 7),
        ({}, {"input_tokens": 10, "input_audio_tokens": 4, "output_tokens": 2, "output_audio_tokens": 1}, 2000),
        ({"input_audio_nusd": 900}, {"input_tokens": 10, "input_audio_tokens": 4}, 6 * 100 + 4 * 900),
        (
            {"input_audio_nusd": 900, "cache_read_audio_nusd": 90},
            {"input_tokens": 10, "input_audio_tokens": 4, "cache_read_tokens": 3, "cache_read_audio_tokens": 2},
            2 * 900 + 2 * 90 + 1 * 10 + 5 * 100,
        ),
        (
            {"input_image_nusd": 300, "cache_read_image_nusd": 30, "input_video_nusd": 70},
            {
                "input_tokens": 10,
                "input_image_tokens": 4,
                "cache_read_tokens": 1,
                "cache_read_image_tokens": 1,
                "input_video_tokens": 2,
            },
            3 * 300 + 1 * 30 + 2 * 70 + 4 * 100,
        ),
        # What of the images was in the cache is not told: no more can be outside it than was not cached.
        (
            {"input_image_nusd": 300},
            {"input_tokens": 10, "input_image_tokens": 9, "cache_read_tokens": 8},
            2 * 300 + 80,
        ),
        (
            {"output_audio_nusd": 9000, "output_image_nusd": 7000, "output_video_nusd": 8000, "reasoning_nusd": 600},
            {
                "output_tokens": 20,
                "output_audio_tokens": 1,
                "output_image_tokens": 2,
                "output_video_tokens": 3,
                "reasoning_tokens": 4,
            },
            9000 + 2 * 7000 + 3 * 8000 + 4 * 600 + 10 * 500,
        ),
        ({}, {"units": {"web_search": 3}}, 0),
        ({"unit_nusd": {"web_search": 50}}, {"units": {"web_search": 3, "image": 2}}, 150),
        ({"unit_nusd": {"request": 7}}, {}, 7),
        ({"unit_nusd": {"request": 7}}, {"units": {"request": 2}}, 14),
        (
            {"unit_nusd": {"image": 1, "image:high": 5, "image:high:large": 9}},
            {"units": {"image:low": 1, "image:high:small": 10, "image:high:large": 100}},
            1 + 50 + 900,
        ),
    ],
)
def test_each_kind_costs_its_own_rate_or_that_of_what_it_is_part_of(
    own: dict[str, Any], usage: dict[str, Any], scaled: int
) -> None:
    in_millions: dict[str, Any] = {
        name: {unit: rate * MILLION for unit, rate in value.items()} if name == "unit_nusd" else value * MILLION
        for name, value in (FLAT | own).items()
    }

    assert cost_nusd(Price(version="v1", **in_millions), Usage(**usage)) == scaled


@given(prices(), usages(), st.sampled_from(TIERS))
def test_the_cost_of_text_is_the_exact_sum_rounded_up_once(price: Price, usage: Usage, tier: str) -> None:
    text = Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        units=usage.units,
    )
    own = price.rates(tier, text.input_tokens)
    uncached_tokens = text.input_tokens - text.cache_read_tokens - text.cache_write_tokens
    exact = (
        Fraction(uncached_tokens * own.input_nusd, MILLION)
        + Fraction(text.cache_read_tokens * own.cache_read_nusd, MILLION)
        + Fraction((text.cache_write_tokens - text.cache_write_1h_tokens) * own.cache_write_nusd, MILLION)
        + Fraction(text.cache_write_1h_tokens * own.hour_write_nusd, MILLION)
        + Fraction(text.output_tokens * own.output_nusd, MILLION)
        + sum(Fraction(n * own.piece_nusd(name), MILLION) for name, n in ({"request": 1} | text.units).items())
    )

    assert cost_nusd(price, text, tier) == ceil(exact)


@given(prices(), usages(), st.sampled_from(TIERS), st.integers(0, 1000), st.integers(0, 1000))
def test_no_call_within_its_bounds_costs_more_than_its_worst_cost(
    price: Price, usage: Usage, tier: str, spare_input_tokens: int, spare_output_tokens: int
) -> None:
    media_tokens = usage.input_audio_tokens + usage.input_image_tokens + usage.input_video_tokens
    bounds = Bounds(
        input_tokens=usage.input_tokens + spare_input_tokens,
        writes_1h=usage.cache_write_1h_tokens > 0,
        has_media=media_tokens > 0,
        # Of an image, the request need not say what it will be.
        units={"image": sum(n for name, n in usage.units.items() if name.startswith("image"))} | usage.units,
        service_tiers=("standard", tier),
    )

    worst_nusd = worst_cost_nusd(price, bounds, output_tokens=usage.output_tokens + spare_output_tokens)

    assert max(cost_nusd(price, usage), cost_nusd(price, usage, tier)) <= worst_nusd


@given(prices(), usages(), st.sampled_from(TIERS), st.integers(1, 4))
def test_more_of_an_image_is_known_than_was_held(price: Price, usage: Usage, tier: str, images: int) -> None:
    bounds = Bounds(input_tokens=0, units={"image": images}, service_tiers=(tier,))

    for name in ("image", "image:high", "image:low", "image:high:1024x1024", "image:high:512x512"):
        cost = cost_nusd(price, Usage(units={name: images}), tier)
        assert cost <= worst_cost_nusd(price, bounds, output_tokens=0)


@given(prices(), st.integers(0, 10**15), st.integers(0, 10**7), st.booleans(), st.sampled_from(TIERS))
def test_what_an_amount_affords_costs_at_most_the_amount_and_one_token_more_does_not(
    price: Price, amount_nusd: int, input_tokens: int, flag: bool, tier: str
) -> None:
    bounds = Bounds(
        input_tokens=input_tokens, writes_1h=flag, has_media=flag, units={"image": 3}, service_tiers=("standard", tier)
    )
    tokens = affordable_output_tokens(price, bounds, amount_nusd=amount_nusd)

    def worst_nusd(output_tokens: int) -> int:
        return worst_cost_nusd(price, bounds, output_tokens=output_tokens)

    if tokens is None:
        assert worst_nusd(10**9) == worst_nusd(0) <= amount_nusd
    elif tokens >= 0:
        assert worst_nusd(tokens) <= amount_nusd
        assert worst_nusd(tokens + 1) > amount_nusd
    else:
        assert worst_nusd(0) > amount_nusd


@pytest.mark.parametrize(
    ("input_nusd", "cache_write_nusd", "own_nusd", "hour_nusd"),
    [(3000, 3750, 6000, 6000), (3000, 3750, None, 6000), (1000, 2500, None, 2500), (3000, 3750, 0, 0), (0, 0, None, 0)],
)
def test_an_hour_in_the_cache_costs_its_own_price_or_twice_the_input(
    input_nusd: int, cache_write_nusd: int, own_nusd: int | None, hour_nusd: int
) -> None:
    price = Price(
        version="v1",
        input_nusd=input_nusd,
        cache_read_nusd=300,
        cache_write_nusd=cache_write_nusd,
        output_nusd=15_000,
        cache_write_1h_nusd=own_nusd,
    )

    assert price.hour_write_nusd == hour_nusd
    assert price.dearest_input_nusd() == max(input_nusd, cache_write_nusd, 300)
    assert price.dearest_input_nusd(writes_1h=True) >= hour_nusd


LONG: Final = Variant(above_input_tokens=200, **{name: 2 * rate for name, rate in FLAT.items()})
LONGER: Final = Variant(above_input_tokens=900, **{name: 3 * rate for name, rate in FLAT.items()})
PRIORITY: Final = Variant(service_tier="priority", **{name: 9 * rate for name, rate in FLAT.items()})


@pytest.mark.parametrize(
    ("tier", "input_tokens", "times"),
    [
        ("standard", 0, 1),
        ("standard", 200, 1),
        ("standard", 201, 2),
        ("standard", 900, 2),
        ("standard", 901, 3),
        # A tier has its own long prompts, or none.
        ("priority", 901, 9),
        # One that the price does not name is charged as the standard one.
        ("flex", 201, 2),
    ],
)
def test_the_whole_call_costs_the_rates_of_its_tier_and_of_its_length(tier: str, input_tokens: int, times: int) -> None:
    price = Price(version="v1", variants=(LONGER, PRIORITY, LONG), **FLAT)

    assert price.rates(tier, input_tokens).input_nusd == times * FLAT["input_nusd"]


def test_the_hold_is_that_of_the_dearest_rates_which_the_call_may_land_on() -> None:
    price = Price(version="v1", variants=(_in_millions(LONG), _in_millions(PRIORITY)), **_times_million(FLAT))

    def worst_nusd(input_tokens: int, *tiers: str) -> int:
        bounds = Bounds(input_tokens=input_tokens, service_tiers=tiers)
        return worst_cost_nusd(price, bounds, output_tokens=10)

    assert worst_nusd(200, "standard") == 200 * 125 + 10 * 500
    assert worst_nusd(201, "standard") == 2 * (201 * 125 + 10 * 500)
    assert worst_nusd(200, "standard", "priority") == 9 * (200 * 125 + 10 * 500)


def _times_million(rates: dict[str, Any]) -> dict[str, Any]:
    return {name: rate * MILLION for name, rate in rates.items()}


def _in_millions(variant: Variant) -> Variant:
    return msgspec.structs.replace(variant, **_times_million({name: getattr(variant, name) for name in FLAT}))


MORNING: Final = 9 * 60
NIGHT: Final = Variant(from_minute=22 * 60, until_minute=6 * 60, **{name: rate // 5 for name, rate in FLAT.items()})
NIGHT_PRIORITY: Final = msgspec.structs.replace(NIGHT, service_tier="priority", input_nusd=33)


@pytest.mark.parametrize(
    ("minute", "input_nusd", "priority_nusd"),
    [(22 * 60 - 1, 100, 900), (22 * 60, 20, 33), (0, 20, 33), (6 * 60 - 1, 20, 33), (6 * 60, 100, 900)],
)
def test_a_call_costs_the_rates_of_the_time_of_day_at_which_it_is_admitted(
    minute: int, input_nusd: int, priority_nusd: int
) -> None:
    price = Price(version="v1", variants=(PRIORITY, NIGHT, NIGHT_PRIORITY), **FLAT)
    admitted_at_ms = (20_000 * 1_440 + minute) * 60_000 + 59_999

    found = price.at(admitted_at_ms)

    assert found.version == "v1"
    assert found.rates("standard", 1).input_nusd == input_nusd
    assert found.rates("priority", 1).input_nusd == priority_nusd
    assert found.at(0) is found


def test_a_time_of_day_within_a_day_has_its_own_long_prompts() -> None:
    noon = msgspec.structs.replace(NIGHT, from_minute=MORNING, until_minute=MORNING + 60)
    long_noon = msgspec.structs.replace(noon, above_input_tokens=200, input_nusd=44)
    price = Price(version="v1", variants=(LONG, long_noon), **FLAT)

    at_noon, later = price.at(MORNING * 60_000), price.at((MORNING + 60) * 60_000)

    # No standard rates are named for the time, so they are what they always are.
    assert [at_noon.rates("standard", tokens).input_nusd for tokens in (200, 201)] == [100, 44]
    assert [later.rates("standard", tokens).input_nusd for tokens in (200, 201)] == [100, 200]


def test_a_price_does_not_know_what_a_dearer_tier_costs_that_it_does_not_name() -> None:
    price = Price(version="v1", variants=(PRIORITY,), **FLAT)

    assert price.unknown_tiers(("standard", "priority", "flex", "batch")) == ()
    assert price.unknown_tiers(("standard", "fast")) == ("fast",)


@pytest.mark.parametrize(
    "rates",
    [
        {"cache_read_nusd": -1},
        {"cache_write_1h_nusd": -1},
        {"output_audio_nusd": -1},
        {"unit_nusd": {"image": -1}},
    ],
)
def test_a_negative_price_is_refused(rates: dict[str, Any]) -> None:
    for kind in (Rates, Variant):
        with pytest.raises(ValueError, match="negative"):
            kind(**(FLAT | rates))
    with pytest.raises(ValueError, match="negative"):
        Price(version="v1", **(FLAT | rates))


@pytest.mark.parametrize(
    "changes",
    [
        [{}],
        [{"above_input_tokens": -1}],
        [{"service_tier": "priority"}, {"service_tier": "priority"}],
        [{"service_tier": "priority", "above_input_tokens": 5}],
        [{"from_minute": 5}],
        [{"from_minute": 5, "until_minute": 5}],
        [{"from_minute": 5, "until_minute": 1440}],
    ],
)
def test_variants_that_hold_at_once_or_never_are_refused(changes: list[dict[str, Any]]) -> None:
    variants = tuple(Variant(**(FLAT | change)) for change in changes)

    with pytest.raises(ValueError, match=r"variant|rates|day"):
        Price(version="v1", variants=variants, **FLAT)


def test_an_amount_that_does_not_pay_for_the_input_affords_nothing_even_where_output_is_free() -> None:
    price = Price(version="v1", **_times_million(FLAT | {"output_nusd": 0}))
    bounds = Bounds(input_tokens=10)

    assert affordable_output_tokens(price, bounds, amount_nusd=10 * 125 - 1) == -1
    assert affordable_output_tokens(price, bounds, amount_nusd=10 * 125) is None
