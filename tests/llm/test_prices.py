"""A call's cost is exact, rounded up once, and never more than the hold for its bounds."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.prices import Price, affordable_output_tokens, cost_nusd, worst_cost_nusd
from kong_plugins.llm.usage import Usage

prices = st.builds(
    Price,
    version=st.just("v1"),
    input_nusd=st.integers(0, 10**12),
    cache_read_nusd=st.integers(0, 10**12),
    cache_write_nusd=st.integers(0, 10**12),
    output_nusd=st.integers(0, 10**12),
    cache_write_1h_nusd=st.none() | st.integers(0, 10**12),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    input_tokens = draw(st.integers(0, 10**7))
    cache_read_tokens = draw(st.integers(0, input_tokens))
    cache_write_tokens = draw(st.integers(0, input_tokens - cache_read_tokens))
    return Usage(
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=draw(st.integers(0, cache_write_tokens)),
        output_tokens=draw(st.integers(0, 10**7)),
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


@given(prices, usages())
def test_the_cost_is_the_exact_sum_rounded_up_once(price: Price, usage: Usage) -> None:
    uncached_tokens = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    exact = (
        Fraction(uncached_tokens * price.input_nusd, 10**6)
        + Fraction(usage.cache_read_tokens * price.cache_read_nusd, 10**6)
        + Fraction((usage.cache_write_tokens - usage.cache_write_1h_tokens) * price.cache_write_nusd, 10**6)
        + Fraction(usage.cache_write_1h_tokens * price.hour_write_nusd, 10**6)
        + Fraction(usage.output_tokens * price.output_nusd, 10**6)
    )

    assert cost_nusd(price, usage) == ceil(exact)


@given(prices, usages(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_call_within_its_bounds_costs_more_than_its_worst_cost(
    price: Price, usage: Usage, spare_input_tokens: int, spare_output_tokens: int
) -> None:
    worst_nusd = worst_cost_nusd(
        price,
        input_tokens=usage.input_tokens + spare_input_tokens,
        output_tokens=usage.output_tokens + spare_output_tokens,
        writes_1h=usage.cache_write_1h_tokens > 0,
    )

    assert cost_nusd(price, usage) <= worst_nusd


@given(prices, st.integers(0, 10**15), st.integers(0, 10**7), st.booleans())
def test_what_an_amount_affords_costs_at_most_the_amount_and_one_token_more_does_not(
    price: Price, amount_nusd: int, input_tokens: int, writes_1h: bool
) -> None:
    tokens = affordable_output_tokens(price, amount_nusd=amount_nusd, input_tokens=input_tokens, writes_1h=writes_1h)

    def worst_nusd(output_tokens: int) -> int:
        return worst_cost_nusd(price, input_tokens=input_tokens, output_tokens=output_tokens, writes_1h=writes_1h)

    if tokens is None:
        assert price.output_nusd == 0
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


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Price(version="v1", input_nusd=1, cache_read_nusd=-1, cache_write_nusd=1, output_nusd=1)
    with pytest.raises(ValueError, match="negative"):
        Price(version="v1", input_nusd=1, cache_read_nusd=1, cache_write_nusd=1, output_nusd=1, cache_write_1h_nusd=-1)
