"""Amounts go from dollars to nano-dollars and back without losing anything."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.money import MAX_CAP_NUSD, nusd_from_usd, usd_from_nusd


@given(st.integers(min_value=0, max_value=10**24))
def test_every_amount_survives_the_way_to_dollars_and_back(amount_nusd: int) -> None:
    assert nusd_from_usd(usd_from_nusd(amount_nusd)) == amount_nusd


@pytest.mark.parametrize(
    ("amount_usd", "amount_nusd"),
    [
        ("0", 0),
        ("0e999999", 0),
        ("1234567890123456789012345678901.123456789", 1234567890123456789012345678901123456789),
        ("0.000000001", 1),
        ("100.00", 100_000_000_000),
        (Decimal("1E+2"), 10**11),
    ],
)
def test_an_amount_in_dollars_is_read_exactly(amount_usd: Decimal | str, amount_nusd: int) -> None:
    assert nusd_from_usd(amount_usd) == amount_nusd


@pytest.mark.parametrize(
    "amount_usd",
    [
        "-0.01",
        "NaN",
        "Infinity",
        "-Infinity",
        "0.0000000001",
        "ten",
        "",
        "sNaN",
        "1e999999",
        "1e-999999",
        "1e32",
        "12345678901234567890123456789012.000000001",
    ],
)
def test_an_amount_that_is_no_whole_number_of_nano_dollars_is_refused(amount_usd: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        nusd_from_usd(amount_usd)


@pytest.mark.parametrize("amount_usd", [Decimal("1E-12"), Decimal(-1), Decimal("NaN"), "ten"])
def test_a_refused_amount_is_answered_in_plain_words(amount_usd: Decimal | str) -> None:
    with pytest.raises(ValueError, match=r"^(An|This is not an) amount [a-zA-Z0-9 ]+\.$"):
        nusd_from_usd(amount_usd)


def test_the_largest_cap_is_exact_in_a_double_with_room_for_a_hold() -> None:
    assert int(float(MAX_CAP_NUSD)) == MAX_CAP_NUSD < 2**53
