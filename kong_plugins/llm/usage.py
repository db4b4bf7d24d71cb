"""Usage: the tokens that a provider says, or is bounded to, have been used by one call."""

from __future__ import annotations

from typing import Literal

import msgspec

# exact: the provider's own count. partial: bounded from what was seen before the stream broke off.
# upper_bound: nothing could be read, the whole hold is charged. unpriced: counted, but no price was known.
Quality = Literal["exact", "partial", "upper_bound", "unpriced"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one call. As in OpenTelemetry, `input_tokens` includes the cached ones and
    `output_tokens` includes reasoning. `cache_write_tokens` includes what is kept for an hour."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        if min(msgspec.structs.astuple(self)) < 0:
            raise ValueError("token counts cannot be negative")
        if self.cache_read_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cached tokens are part of the input tokens")
        if self.cache_write_1h_tokens > self.cache_write_tokens:
            raise ValueError("tokens cached for an hour are part of the tokens written into the cache")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning tokens are part of the output tokens")

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
