"""A provider's answer as the guard's tap kept it: both ends of the body, and how much lay between them."""

from __future__ import annotations

from typing import Final

import msgspec

from kong_plugins.llm.usage import Usage

# What may be on its way, or be held back as half a character, when a stream breaks off.
SLACK_TOKENS: Final = 16


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from a provider.

    `head` and `tail` are the first and last bytes of a body of `size_bytes`; they may overlap. `event_count` counts
    the blank lines of an event stream; `complete` says that the end of the body was seen.
    """

    content_type: str
    content_encoding: str
    head: bytes
    tail: bytes
    size_bytes: int
    event_count: int
    complete: bool

    @property
    def is_event_stream(self) -> bool:
        return self.content_type.lower().startswith("text/event-stream")

    @property
    def is_readable(self) -> bool:
        """Whether the body came as it is; a compressed one cannot be read from its ends."""
        return self.content_encoding.lower() in ("", "identity")

    @property
    def tail_at(self) -> int:
        """The offset of the tail in the body."""
        return self.size_bytes - len(self.tail)

    @property
    def whole(self) -> bytes | None:
        """The whole body, where its two ends meet."""
        if self.tail_at > len(self.head):
            return None
        return self.head[: self.tail_at] + self.tail


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says. `usage` is the provider's own final count, or None.

    `sent_bound_tokens` bounds the output of an event stream by what has been sent of it; None for other answers.
    """

    usage: Usage | None = None
    sent_bound_tokens: int | None = None
    response_model: str | None = None
