"""Amounts as people read them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from kong_plugins.llm.money import NUSD_PER_USD
from kong_plugins.llm.release import BudgetUnit

NUSD_PER_CENT: Final = NUSD_PER_USD // 100
# Python would also read digits of other scripts, underscores and exponents, which a reader may take for another amount.
_USD: Final = re.compile(r"(?=\.?[0-9])[0-9]{0,15}(?:\.[0-9]{0,15})?")


def usd_from_text(text: str) -> Decimal:
    """An amount in US dollars as people write it: 12, 0.25, .5.

    Raises:
        ValueError: it is written otherwise, is negative, or has more than 15 digits before or behind the point.
    """
    if _USD.fullmatch(text) is None:
        raise ValueError("Give an amount in US dollars as digits, such as 0.25.")
    return Decimal(text)


def usd_text(amount_nusd: int, *, separator: str = "") -> str:
    """An amount in US dollars, exact, with at least two decimal places: 0.60, 12.345678901."""
    dollars, rest = divmod(abs(amount_nusd), NUSD_PER_USD)
    whole = f"{dollars:,}".replace(",", separator)
    return f"{'-' if amount_nusd < 0 else ''}{whole}.{f'{rest:09}'.rstrip('0'):0<2}"


def rounded_usd_text(amount_nusd: int) -> str:
    """An amount in US dollars as it is shown among others: from one dollar on to the cent, below it exact."""
    if abs(amount_nusd) >= NUSD_PER_USD:
        cents, rest = divmod(amount_nusd, NUSD_PER_CENT)
        amount_nusd = (cents + (rest * 2 >= NUSD_PER_CENT)) * NUSD_PER_CENT
    return "$" + usd_text(amount_nusd, separator=",")


def amount_text(amount: int, unit: BudgetUnit) -> str:
    """An amount with its unit, such as $1,000.00 or 5,000 tokens."""
    if unit == "nusd":
        return "$" + usd_text(amount, separator=",")
    return f"{amount:,} {unit}"
