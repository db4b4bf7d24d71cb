"""Usage in Cohere's chats, streamed and not, read from the two ends of the body that the tap kept.

Cohere bills `billed_units`, in which the preamble that it puts before a prompt is missing; `tokens`, which include it,
count where there are none. What its cache has read (`cached_tokens`) is billed as any other input.
https://docs.cohere.com/v2/docs/how-does-cohere-pricing-work
"""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, Final

import msgspec

from kong_plugins.llm.protocols.answers import Answer, Reading, decoded, decoded_from_usage_on
from kong_plugins.llm.protocols.sse import Event, events_at_both_ends, sent_bound_tokens
from kong_plugins.llm.tokens import utf8_bytes
from kong_plugins.llm.usage import Usage

# Counts are numbers with a fraction by their type, if not by their nature.
_Count = Annotated[float, msgspec.Meta(ge=0, le=10**9)]
_FREE_EVENTS: Final = frozenset(
    {"message-start", "content-start", "content-end", "tool-call-end", "citation-start", "citation-end", "debug"}
)


class _Tokens(msgspec.Struct):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None


class _WireUsage(msgspec.Struct):
    billed_units: _Tokens | None = None
    tokens: _Tokens | None = None


class _Chat(msgspec.Struct):
    usage: _WireUsage | None = None


class _Delta(msgspec.Struct):
    message: dict[str, Any] = {}
    usage: _WireUsage | None = None


class _Event(msgspec.Struct):
    """One event of a stream, of whatever type."""

    type: str = ""
    delta: _Delta | None = None


def read_chat(answer: Answer) -> Reading:
    """The usage of an answer in one piece."""
    whole = answer.whole
    if whole is not None:
        chat = decoded(whole, _Chat)
    else:
        chat = decoded_from_usage_on(answer.tail, _Chat) if answer.complete else None
    return Reading(usage=_normal(chat.usage) if chat else None)


def read_stream(answer: Answer) -> Reading:
    """The usage of an event stream, which its last event tells, or what bounds what was sent of it."""
    head, tail = events_at_both_ends(answer)
    events = head + tail
    told = [decoded(event.data or b"{}", _Event) for event in events]
    for event in reversed(told):
        if event is not None and event.type == "message-end":
            return Reading(usage=_normal(event.delta.usage if event.delta else None))
    contents = [_content_bytes(each, event) for each, event in zip(told, events, strict=True)]
    if None in contents:
        return Reading()
    sizes = [size or 0 for size in contents]
    envelopes = (event.size_bytes - size for event, size in zip(events, sizes, strict=True))
    return Reading(
        sent_bound_tokens=sent_bound_tokens(
            answer, events, content_bytes=sum(sizes), envelope_bytes=min(envelopes, default=0)
        )
    )


def _content_bytes(told: _Event | None, event: Event) -> int | None:
    """The bytes of an event's text; all of it where there is other output, and None where some of that is hidden."""
    if told is None:
        return event.size_bytes
    content = told.delta.message.get("content") if told.delta else None
    members = content if isinstance(content, dict) else {}
    if "thinking" in members:
        return None
    if told.type in _FREE_EVENTS or not event.data:
        return 0
    text = members.get("text")
    return utf8_bytes(text) if told.type == "content-delta" and isinstance(text, str) else event.size_bytes


def _normal(usage: _WireUsage | None) -> Usage | None:
    for tokens in (usage.billed_units, usage.tokens) if usage else ():
        if tokens is not None and tokens.input_tokens is not None and tokens.output_tokens is not None:
            return Usage(input_tokens=ceil(tokens.input_tokens), output_tokens=ceil(tokens.output_tokens))
    return None
