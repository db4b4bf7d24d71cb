"""The provider's arithmetic."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from demo.catalog import PriceList, demo_models
from demo.simulator.bill import amount_nusd

_GPT_4O_MINI = next(model.price for model in demo_models() if model.name == "gpt-4o-mini")
_MICRO_PRICE = st.integers(0, 10**9).map(lambda number: str(Decimal(number) / 10**6))


def test_a_call_is_billed_as_openai_publishes_it() -> None:
    assert amount_nusd(_GPT_4O_MINI, input_tokens=1000, cache_read_tokens=0, output_tokens=100) == 210_000
    assert amount_nusd(_GPT_4O_MINI, input_tokens=1000, cache_read_tokens=400, output_tokens=100) == 180_000


def test_sounds_and_pictures_that_are_read_have_their_own_price() -> None:
    price = PriceList("2.50", "2.50", "2.50", "10.00", input_audio_usd_per_mtok="6.00")
    read: dict[str, Any] = {"input_tokens": 130, "cache_read_tokens": 0, "output_tokens": 4}
    assert amount_nusd(price, input_audio_tokens=120, **read) == 120 * 6_000 + 10 * 2_500 + 4 * 10_000
    assert amount_nusd(price, input_image_tokens=120, **read) == 130 * 2_500 + 4 * 10_000


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once_for_the_whole_call() -> None:
    thirds = PriceList("0.0001", "0.0001", "0.0001", "0.0001")
    assert amount_nusd(thirds, input_tokens=3, cache_read_tokens=0, output_tokens=4) == 1
    assert amount_nusd(thirds, input_tokens=6, cache_read_tokens=1, output_tokens=5) == 2


@given(
    prices=st.tuples(_MICRO_PRICE, _MICRO_PRICE, _MICRO_PRICE),
    uncached=st.integers(0, 10**7),
    cached=st.integers(0, 10**7),
    output=st.integers(0, 10**7),
)
def test_the_bill_is_the_exact_cost_rounded_up(
    prices: tuple[str, str, str], uncached: int, cached: int, output: int
) -> None:
    price = PriceList(prices[0], prices[1], prices[0], prices[2])
    tokens = (uncached, cached, output)
    exact = sum(Fraction(usd) * count * 1000 for usd, count in zip(prices, tokens, strict=True))
    billed = amount_nusd(price, input_tokens=uncached + cached, cache_read_tokens=cached, output_tokens=output)
    assert 0 <= billed - exact < 1
