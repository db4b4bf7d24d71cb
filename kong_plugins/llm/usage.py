"""Usage: the tokens that a provider says, or is bounded to, have been used by one call."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

# The service tier of a call that asks for no other.
STANDARD_TIER: Final = "standard"
# The piece of which a sound has one for each second.
SECOND: Final = "second"

# exact: the provider's own count. partial: bounded from what was seen before the stream broke off.
# upper_bound: nothing could be read, the whole hold is charged. unpriced: counted, but no price was known.
Quality = Literal["exact", "partial", "upper_bound", "unpriced"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one call. As in OpenTelemetry, `input_tokens` includes the cached ones and `output_tokens` includes
    reasoning. `cache_write_tokens` includes what is kept for an hour. Tokens of audio, images and video are part of the
    input, of what the cache has read of it, or of the output.

    `units` counts what is billed by the piece, by names that prices use too: `image`, or `image:<quality>:<size>`,
    `second`, `character`, `web_search`.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cache_read_audio_tokens: int = 0
    input_image_tokens: int = 0
    cache_read_image_tokens: int = 0
    input_video_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    output_video_tokens: int = 0
    units: dict[str, int] = {}

    def __post_init__(self) -> None:
        *tokens, units = msgspec.structs.astuple(self)
        if min(*tokens, *units.values()) < 0:
            raise ValueError("counts cannot be negative")
        if self.cache_read_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cached tokens are part of the input tokens")
        if self.cache_write_1h_tokens > self.cache_write_tokens:
            raise ValueError("tokens cached for an hour are part of the tokens written into the cache")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning tokens are part of the output tokens")
        if self.input_audio_tokens + self.input_image_tokens + self.input_video_tokens > self.input_tokens:
            raise ValueError("tokens of audio, images and video are part of the input tokens")
        if self.cache_read_audio_tokens + self.cache_read_image_tokens > self.cache_read_tokens:
            raise ValueError("cached tokens of audio and images are part of the cached tokens")
        if self.cache_read_audio_tokens > self.input_audio_tokens:
            raise ValueError("cached tokens of audio are part of the audio's")
        if self.cache_read_image_tokens > self.input_image_tokens:
            raise ValueError("cached tokens of images are part of the images'")
        if self.output_audio_tokens + self.output_image_tokens + self.output_video_tokens > self.output_tokens:
            raise ValueError("tokens of audio, images and video are part of the output tokens")

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
