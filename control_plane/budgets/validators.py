"""What budgets and limits may say beside their amount. What would do nothing is refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from django.core.exceptions import ValidationError
from django.db.models import Model

from kong_plugins.llm.release import Tier

MAX_QUEUE_MS: Final = 300_000
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)


def checked_tier_shares(shares: Any, amount: int | None) -> dict[Tier, int]:
    """The shares of an amount as they are stored: those below 100 %. None of them may round down to nothing.

    Raises:
        ValidationError: for `tier_shares_percent`.
    """
    if complaint := _complaint(shares, amount or 0):
        raise ValidationError({"tier_shares_percent": complaint})
    return {tier: percent for tier, percent in shares.items() if percent < 100}


def _complaint(shares: Any, amount: int) -> str | None:
    if not isinstance(shares, dict):
        return 'Give the shares by tier, such as {"experimental": 20}.'
    if unknown := sorted(str(tier) for tier in shares if tier not in TIERS):
        return f"No such tier: {', '.join(unknown)}. The tiers are {', '.join(TIERS)}."
    if any(type(percent) is not int or not 0 <= percent <= 100 for percent in shares.values()):
        return "A share is a whole percentage from 0 to 100."
    if all(shares.get(tier, 100) == 0 for tier in TIERS):
        return "With a share of 0 for every tier nobody could call; set the amount to 0 if you mean that."
    for tier, percent in shares.items():
        if amount and percent and not amount * percent // 100:
            return (
                f"{percent} % of {amount} is less than one, so the tier {tier} could use nothing: "
                f"give it at least {-(-100 // amount)} %, or 0 if you mean that."
            )
    return None


def refuse_idle(row: Model, names: Iterable[str], reason: str) -> None:
    """Refuse that any of these fields of a row is set, since the row never refuses a call, for a reason in words.

    Raises:
        ValidationError: for each of them.
    """
    if idle := [name for name in names if getattr(row, name)]:
        raise ValidationError(dict.fromkeys(idle, f"{reason}, so this would have no effect: leave it out."))
