"""Prices: integer nano-USD per million tokens, and the one function that turns usage into money."""

from __future__ import annotations

from typing import Final

import msgspec

from kong_plugins.llm.usage import Usage

TOKENS_PER_PRICE: Final = 1_000_000
# https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#pricing
_HOUR_WRITE_TIMES_INPUT: Final = 2


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment charges, in nano-USD per million tokens of each kind.

    `version` names the row of the price book, so that every ledger row can be re-rated. What is written into a cache
    for an hour may cost more than what stays there for minutes; without a price of its own it costs what Anthropic
    takes, twice the input, and never less than other writes.
    """

    version: str
    input_nusd: int
    cache_read_nusd: int
    cache_write_nusd: int
    output_nusd: int
    cache_write_1h_nusd: int | None = None

    def __post_init__(self) -> None:
        prices = (self.input_nusd, self.cache_read_nusd, self.cache_write_nusd, self.output_nusd)
        if min(*prices, self.cache_write_1h_nusd or 0) < 0:
            raise ValueError("a price cannot be negative")

    @property
    def hour_write_nusd(self) -> int:
        """The price of a token that is written into the provider's cache for an hour."""
        if self.cache_write_1h_nusd is not None:
            return self.cache_write_1h_nusd
        return max(_HOUR_WRITE_TIMES_INPUT * self.input_nusd, self.cache_write_nusd)

    def dearest_input_nusd(self, *, writes_1h: bool = False) -> int:
        """The price that any input token costs at most, whatever the provider's cache does with it; into which only
        a call that `writes_1h` writes for an hour."""
        dearest = max(self.input_nusd, self.cache_read_nusd, self.cache_write_nusd)
        return max(dearest, self.hour_write_nusd) if writes_1h else dearest


def cost_nusd(price: Price, usage: Usage) -> int:
    """The cost of one call in nano-USD: ⌈Σ tokens · price / 10⁶⌉, rounded up once for the whole call."""
    uncached_tokens = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    scaled = (
        uncached_tokens * price.input_nusd
        + usage.cache_read_tokens * price.cache_read_nusd
        + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * price.cache_write_nusd
        + usage.cache_write_1h_tokens * price.hour_write_nusd
        + usage.output_tokens * price.output_nusd
    )
    return -(-scaled // TOKENS_PER_PRICE)


def worst_cost_nusd(price: Price, *, input_tokens: int, output_tokens: int, writes_1h: bool = False) -> int:
    """The most that a call with these bounds can cost, in nano-USD."""
    scaled = input_tokens * price.dearest_input_nusd(writes_1h=writes_1h) + output_tokens * price.output_nusd
    return -(-scaled // TOKENS_PER_PRICE)


def affordable_output_tokens(
    price: Price, *, amount_nusd: int, input_tokens: int, writes_1h: bool = False
) -> int | None:
    """How many output tokens `amount_nusd` pays for after the input; None where output costs nothing.

    Negative where the amount does not even pay for the input.
    """
    if price.output_nusd == 0:
        return None
    left = amount_nusd * TOKENS_PER_PRICE - input_tokens * price.dearest_input_nusd(writes_1h=writes_1h)
    return left // price.output_nusd
