"""Money: integer nano-USD everywhere, `Decimal` only where a person reads or writes an amount."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final

NUSD_PER_USD: Final = 1_000_000_000

# Redis counts in doubles inside Lua, exact to 2**53; this cap leaves room for one hold above it.
MAX_CAP_NUSD: Final = 9_000_000_000_000_000

# Wider than any amount that is meant; what does not fit is refused instead of rounded.
_EXACT: Final = Context(prec=40, Emax=40, traps=[Inexact, InvalidOperation, Overflow])


def nusd_from_usd(amount_usd: Decimal | str) -> int:
    """Convert an amount in US dollars to nano-USD, exactly.

    Raises:
        ValueError: the amount is not a finite number, is negative, is finer than one nano-USD, or is out of all reason.
    """
    try:
        amount = Decimal(amount_usd)
    except InvalidOperation as error:
        raise ValueError("This is not an amount in US dollars.") from error
    if not amount.is_finite() or amount < 0:
        raise ValueError("An amount must be finite and not negative.")
    amount_nusd = whole_product(amount, NUSD_PER_USD)
    if amount_nusd is None:
        raise ValueError("An amount in US dollars has at most 9 decimal places and 31 digits before them.")
    return amount_nusd


def whole_product(amount: Decimal, factor: int) -> int | None:
    """A finite amount times a factor, exactly; None where that is no whole number, or one of more than 40 digits."""
    try:
        product = _EXACT.multiply(amount, Decimal(factor))
    except (Inexact, Overflow):
        return None
    return int(product) if product == product.to_integral_value() else None


def usd_from_nusd(amount_nusd: int) -> Decimal:
    """Convert nano-USD to US dollars, exactly."""
    return Decimal(amount_nusd) / NUSD_PER_USD
