"""A provider's answer as the guard's tap kept it: both ends of the body, and how much lay between them."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final, TypeVar

import msgspec

from kong_plugins.llm.usage import Usage

# What may be on its way, or be held back as half a character, when a stream breaks off.
SLACK_TOKENS: Final = 16
# No call has a thousand million tokens; a provider that says so has not counted.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_MODEL_LENGTH: Final = 256


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from a provider.

    `head` and `tail` are the first and last bytes of a body of `size_bytes`; they may overlap. `event_count` counts
    the blank lines of an event stream; `complete` says that the end of the body was seen. `headers` are those that the
    wire format wants to know, under lower-case names.
    """

    content_type: str
    content_encoding: str
    head: bytes
    tail: bytes
    size_bytes: int
    event_count: int
    complete: bool
    headers: dict[str, str] = {}

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
    """What an answer says. `usage` is the provider's own final count, or None; `input_usage` is what it has said of
    the input before the answer was over.

    `sent_bound_tokens` bounds the output of an event stream by what has been sent of it; None where that is no bound.
    `service_tier` is the one at which it was served, where the answer says so, by the name that prices use.
    `as_asked`: it is whole, and the pieces that were asked for are in it, of which it tells no count.
    `unsplit_writes`: the count does not say how much of what was written into the cache is kept for an hour.
    """

    usage: Usage | None = None
    input_usage: Usage | None = None
    unsplit_writes: bool = False
    sent_bound_tokens: int | None = None
    response_model: str | None = None
    service_tier: str | None = None
    as_asked: bool = False


def decoded(data: bytes, kind: type[_Kind]) -> _Kind | None:
    """The data as such a document, None where it is none or a count in it makes no sense; Python's own reader lets pass
    half of a surrogate pair in what a model writes."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return msgspec.convert(json.loads(data), kind)
    except (ValueError, RecursionError):
        return None


def decoded_from_usage_on(tail: bytes, kind: type[_Kind]) -> _Kind | None:
    """The last members of such a document, from `usage` on, given its last bytes; None where it does not end so."""
    return decoded_from_member_on(tail, "usage", kind)


def decoded_from_member_on(tail: bytes, name: str, kind: type[_Kind], *, opening: bytes = b"{") -> _Kind | None:
    """The last members of a document that begins with `opening`, from that of a name on, given the document's last
    bytes; None where it does not end so.

    A candidate that decodes is the object's own member: what follows it closes exactly what was opened up to the end of
    the body, and its quote is no escaped one, as all are in what a model writes.
    """
    for candidate in reversed(list(re.finditer(rb'"%b"\s*:' % name.encode(), tail))):
        before = tail[: candidate.start()]
        unescaped = before.rstrip(b"\\")
        if not unescaped or (len(before) - len(unescaped)) % 2 == 1:
            continue
        try:
            return msgspec.json.decode(opening + tail[candidate.start() :], type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return None


def readable_model_name(name: object) -> str | None:
    """The model's name, where it is one that can be written down."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= _MODEL_LENGTH else None
