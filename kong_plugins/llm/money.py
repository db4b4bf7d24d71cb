"""Money: integer nano-USD everywhere, `Decimal` only where a person reads or writes an amount."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

NUSD_PER_USD: Final = 1_000_000_000

# Redis counts in doubles inside Lua, exact to 2**53; this cap leaves room for one hold above it.
MAX_CAP_NUSD: Final = 9_000_000_000_000_000


def nusd_from_usd(amount_usd: Decimal | str) -> int:
    """Convert an amount in US dollars to nano-USD, exactly.

    Raises:
        ValueError: the amount is not a finite number, is negative, or is finer than one nano-USD.
    """
    try:
        scaled = Decimal(amount_usd) * NUSD_PER_USD
    except InvalidOperation as error:
        raise ValueError("This is not an amount in US dollars.") from error
    if not scaled.is_finite() or scaled < 0:
        raise ValueError("An amount must be finite and not negative.")
    if scaled != scaled.to_integral_value():
        raise ValueError("An amount in US dollars has at most 9 decimal places.")
    return int(scaled)


def usd_from_nusd(amount_nusd: int) -> Decimal:
    """Convert nano-USD to US dollars, exactly."""
    return Decimal(amount_nusd) / NUSD_PER_USD
