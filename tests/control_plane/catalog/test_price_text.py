"""A price as lines of text reads back as the price that it was."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given

from control_plane.catalog.price_book import price_of
from control_plane.catalog.price_text import amounts_from, lines_of, piece_usd_text
from kong_plugins.llm.prices import Price, Variant, cost_nusd
from kong_plugins.llm.usage import Usage
from tests.llm.test_prices import prices, usages

FREE: Final[Any] = {"input_nusd": 0, "cache_read_nusd": 0, "cache_write_nusd": 0, "output_nusd": 0}
BASE = ["input 2.50", "cache_read 0.25", "cache_write 2.50", "output 15.00"]


@given(prices(), usages())
def test_what_is_written_costs_the_same_when_it_is_read(price: Price, usage: Usage) -> None:
    read = price_of(amounts_from(lines_of(price)))

    for tier in ("standard", "priority", "flex"):
        assert cost_nusd(read, usage, tier) == cost_nusd(price, usage, tier)


def test_a_piece_whose_rate_follows_from_a_coarser_name_elsewhere_is_written_out() -> None:
    flex = Variant(service_tier="flex", unit_nusd={"image": 0, "image:high": 10**15}, **FREE)
    price = Price(version="v1", unit_nusd={"image:high:1024x1024": 0}, variants=(flex,), **FREE)

    read = price_of(amounts_from(lines_of(price)))

    assert cost_nusd(read, Usage(units={"image:high:1024x1024": 1}), "flex") == 10**9


def test_a_kind_that_only_some_calls_pay_for_by_itself_is_written_out_though_it_costs_what_it_always_does() -> None:
    flex = Variant(service_tier="flex", input_image_nusd=0, **(FREE | {"input_nusd": 10**9}))

    read = price_of(amounts_from(lines_of(Price(version="v1", variants=(flex,), **FREE))))

    assert cost_nusd(read, Usage(input_tokens=1, input_image_tokens=1), "flex") == 0


def test_a_price_is_a_line_for_each_rate_and_for_each_that_some_calls_have_instead() -> None:
    lines = [
        *BASE,
        "each image:high:1024x1024 0.167",
        "above 272000: input 5.00",
        "priority: output 30.00",
        "priority above 272000: input 7.00",
        "16:30-00:30: output 0.10",
    ]

    price = price_of(amounts_from(lines))

    assert lines_of(price) == lines
    assert price.rates("standard", 272_001).output_nusd == 15 * 10**9
    assert price.rates("priority", 1).input_nusd == 2_500_000_000


def test_blank_lines_and_spaces_say_nothing() -> None:
    assert amounts_from([" input  1 ", "", "  above   9:  input 2 "]) == {
        "input_nusd": 10**9,
        "variants": [{"service_tier": "standard", "above_input_tokens": 9, "input_nusd": 2 * 10**9}],
    }


@pytest.mark.parametrize(
    "line",
    [
        "input",
        "inptu 3",
        "each Web 3",
        "input 1,5",
        "input -1",
        "input NaN",
        "input 0.0000000001",
        "each image 0.0000000000000001",
        "each image 1e999999",
        "each image 1e9000",
        "each image 1e-9",
        "each image ٣",
        "input ٣",
        "input 1_000",
        "input 1234567890123456.123456789",
        "input +1",
        "input .",
        "sometimes maybe: input 1",
        "25:00-26:00: input 1",
        "above many: input 1",
        "",
    ],
)
def test_a_line_that_says_nothing_clear_is_refused_by_name(line: str) -> None:
    lines = [*BASE, line] if line else ["input 1", "input 2"]

    with pytest.raises(ValueError, match=r"."):
        amounts_from(lines)


def test_what_a_piece_costs_is_written_exactly() -> None:
    assert [piece_usd_text(rate) for rate in (0, 1, 10**13, 10**15, 12 * 10**15)] == [
        "0.00",
        "0.000000000000001",
        "0.01",
        "1.00",
        "12.00",
    ]
