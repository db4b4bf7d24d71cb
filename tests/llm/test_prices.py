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
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    input_tokens = draw(st.integers(0, 10**7))
    cache_read_tokens = draw(st.integers(0, input_tokens))
    return Usage(
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=draw(st.integers(0, input_tokens - cache_read_tokens)),
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
        + Fraction(usage.cache_write_tokens * price.cache_write_nusd, 10**6)
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
    )

    assert cost_nusd(price, usage) <= worst_nusd


@given(prices, st.integers(0, 10**15), st.integers(0, 10**7))
def test_what_an_amount_affords_costs_at_most_the_amount_and_one_token_more_does_not(
    price: Price, amount_nusd: int, input_tokens: int
) -> None:
    tokens = affordable_output_tokens(price, amount_nusd=amount_nusd, input_tokens=input_tokens)

    if tokens is None:
        assert price.output_nusd == 0
    elif tokens >= 0:
        assert worst_cost_nusd(price, input_tokens=input_tokens, output_tokens=tokens) <= amount_nusd
        assert worst_cost_nusd(price, input_tokens=input_tokens, output_tokens=tokens + 1) > amount_nusd
    else:
        assert worst_cost_nusd(price, input_tokens=input_tokens, output_tokens=0) > amount_nusd


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Price(version="v1", input_nusd=1, cache_read_nusd=-1, cache_write_nusd=1, output_nusd=1)
