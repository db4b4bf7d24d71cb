"""Usage in OpenAI's responses, streamed and not, read from the two ends of the body that the tap kept.

A stream tells it once, in its last event, which repeats the whole answer: where that is longer than what was kept, its
end is read alone. What a model writes lies inside JSON strings, where every quote is escaped, so text that looks like
usage is never taken for the provider's own.
https://developers.openai.com/api/reference/resources/responses/streaming-events
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from kong_plugins.llm.body import first_members
from kong_plugins.llm.protocols.answers import (
    Answer,
    Count,
    Reading,
    decoded,
    decoded_from_member_on,
    readable_model_name,
)
from kong_plugins.llm.protocols.openai_dialect import served_tier
from kong_plugins.llm.protocols.sse import Event, events_at_both_ends, sent_bound_tokens, torn_event
from kong_plugins.llm.tokens import strings_in, utf8_bytes
from kong_plugins.llm.usage import Usage

_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Some who speak as OpenAI does end these streams as chats end.
_DONE: Final = b"[DONE]"
_ITEMS_TOLD_BY_DELTAS: Final = frozenset({"message", "function_call", "custom_tool_call"})
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class _InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _WireUsage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    total_tokens: Count | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Response(msgspec.Struct):
    model: Any = None
    service_tier: Any = None
    usage: _WireUsage | None = None


class _Event(msgspec.Struct):
    """One event of a stream, of whatever type."""

    type: str = ""
    response: _Response | None = None
    delta: Any = None
    item: Any = None


def read_response(answer: Answer) -> Reading:
    """The usage of an answer in one piece."""
    whole = answer.whole
    if whole is not None:
        return _reading(decoded(whole, _Response))
    beginning = first_members(answer.head.decode(errors="replace"))
    end = _last_members(answer.tail, _Response, opening=b"{") if answer.complete else None
    if end is None and answer.complete:
        end = _first_members(beginning)
    return _reading(end, model=beginning.get("model"))


def read_stream(answer: Answer) -> Reading:
    """The usage of an event stream, or what bounds it by what was sent."""
    beginning, end = events_at_both_ends(answer)
    events = beginning + end
    read = [decoded(event.data or b"{}", _Event) for event in events]
    model = next((event.response.model for event in read if event and event.response), None)
    last = next((event.response for event in reversed(read) if event and event.type in _LAST_EVENTS), None)
    if last is None and all(event.data in (b"", _DONE) for event in end):
        last = _end_of_torn_response(answer)
    reading = _reading(last, model=model)
    if reading.usage is not None:
        return reading
    contents = [_content_bytes(event, known) for event, known in zip(events, read, strict=True)]
    envelopes = (event.size_bytes - content for event, content in zip(events, contents, strict=True))
    bound_tokens = sent_bound_tokens(
        answer, events, content_bytes=sum(contents), envelope_bytes=min(envelopes, default=0)
    )
    return msgspec.structs.replace(reading, sent_bound_tokens=bound_tokens)


def _first_members(beginning: dict[str, Any]) -> _Response | None:
    """A document of whose members the first ones were seen; its usage may stand before its output."""
    try:
        return msgspec.convert(beginning, _Response)
    except msgspec.ValidationError:
        return None


def _end_of_torn_response(answer: Answer) -> _Response | None:
    """The last members of a last event that began before the tail; no other event ends with a response's usage."""
    event = torn_event(answer)
    if event is None:
        return None
    document = _last_members(event.data or event.lines, _Event, opening=b'{"response":{')
    return document.response if document else None


def _last_members(data: bytes, kind: type[_Kind], *, opening: bytes) -> _Kind | None:
    """The document's end, from the service tier on where it is there, else from the usage on."""
    return decoded_from_member_on(data, "service_tier", kind, opening=opening) or decoded_from_member_on(
        data, "usage", kind, opening=opening
    )


def _content_bytes(event: Event, known: _Event | None) -> int:
    """The bytes of all that the model has written into an event; the whole event where it cannot be read."""
    if event.data in (b"", _DONE):
        return 0
    if known is None:
        return event.size_bytes
    if known.type.endswith(".delta"):
        return _bytes_of(known.delta)
    if known.type == "response.output_item.added":
        return _bytes_of(known.item)
    told_before = isinstance(known.item, dict) and known.item.get("type") in _ITEMS_TOLD_BY_DELTAS
    return 0 if told_before or known.item is None else _bytes_of(known.item)


def _bytes_of(value: object) -> int:
    return sum(map(utf8_bytes, strings_in(value, names=False)))


def _reading(response: _Response | None, *, model: object = None) -> Reading:
    """Usage in our terms; none where a count is missing, or contradicts another."""
    response = response or _Response()
    return Reading(
        usage=_normal(response.usage),
        response_model=readable_model_name(response.model or model),
        service_tier=served_tier(response.service_tier),
    )


def _normal(usage: _WireUsage | None) -> Usage | None:
    if usage is None:
        return None
    read = usage.input_tokens_details or _InputDetails()
    written = usage.output_tokens_details or _OutputDetails()
    try:
        return Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=read.cached_tokens or 0,
            cache_write_tokens=read.cache_write_tokens or 0,
            output_tokens=max(usage.output_tokens, (usage.total_tokens or 0) - usage.input_tokens),
            reasoning_tokens=written.reasoning_tokens or 0,
        )
    except ValueError:
        return None
