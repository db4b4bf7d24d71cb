"""Amounts as people read them."""

from __future__ import annotations

from kong_plugins.llm.money import NUSD_PER_USD
from kong_plugins.llm.release import BudgetUnit


def usd_text(amount_nusd: int, *, separator: str = "") -> str:
    """An amount in US dollars, exact, with at least two decimal places: 0.60, 12.345678901."""
    dollars, rest = divmod(abs(amount_nusd), NUSD_PER_USD)
    whole = f"{dollars:,}".replace(",", separator)
    return f"{'-' if amount_nusd < 0 else ''}{whole}.{f'{rest:09}'.rstrip('0'):0<2}"


def amount_text(amount: int, unit: BudgetUnit) -> str:
    """An amount with its unit, such as $1,000.00 or 5,000 tokens."""
    if unit == "nusd":
        return "$" + usd_text(amount, separator=",")
    return f"{amount:,} {unit}"
