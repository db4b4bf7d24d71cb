"""Prices: integer nano-USD per million tokens, and the one function that turns usage into money."""

from __future__ import annotations

from typing import Final

import msgspec

from kong_plugins.llm.usage import Usage

TOKENS_PER_PRICE: Final = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment charges, in nano-USD per million tokens of each kind.

    `version` names the row of the price book, so that every ledger row can be re-rated.
    """

    version: str
    input_nusd: int
    cache_read_nusd: int
    cache_write_nusd: int
    output_nusd: int

    def __post_init__(self) -> None:
        if min(self.input_nusd, self.cache_read_nusd, self.cache_write_nusd, self.output_nusd) < 0:
            raise ValueError("a price cannot be negative")

    @property
    def dearest_input_nusd(self) -> int:
        """The price that any input token costs at most, whatever the provider's cache does with it."""
        return max(self.input_nusd, self.cache_read_nusd, self.cache_write_nusd)


def cost_nusd(price: Price, usage: Usage) -> int:
    """The cost of one call in nano-USD: ⌈Σ tokens · price / 10⁶⌉, rounded up once for the whole call."""
    uncached_tokens = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    scaled = (
        uncached_tokens * price.input_nusd
        + usage.cache_read_tokens * price.cache_read_nusd
        + usage.cache_write_tokens * price.cache_write_nusd
        + usage.output_tokens * price.output_nusd
    )
    return -(-scaled // TOKENS_PER_PRICE)


def worst_cost_nusd(price: Price, *, input_tokens: int, output_tokens: int) -> int:
    """The most that a call with these bounds can cost, in nano-USD."""
    scaled = input_tokens * price.dearest_input_nusd + output_tokens * price.output_nusd
    return -(-scaled // TOKENS_PER_PRICE)


def affordable_output_tokens(price: Price, *, amount_nusd: int, input_tokens: int) -> int | None:
    """How many output tokens `amount_nusd` pays for after the input; None where output costs nothing.

    Negative where the amount does not even pay for the input.
    """
    if price.output_nusd == 0:
        return None
    left = amount_nusd * TOKENS_PER_PRICE - input_tokens * price.dearest_input_nusd
    return left // price.output_nusd
