"""Usage in Anthropic's messages, streamed and not, read from the two ends of the body that the tap kept.

A stream tells its input in `message_start` and its output, so far, in each `message_delta`; the last one is final.
Anthropic counts what the cache has read and written beside its `input_tokens`; ours include it.
https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from kong_plugins.llm.body import first_members
from kong_plugins.llm.protocols.answers import (
    Answer,
    Count,
    Reading,
    decoded,
    decoded_from_usage_on,
    readable_model_name,
)
from kong_plugins.llm.protocols.sse import events_at_both_ends, sent_bound_tokens
from kong_plugins.llm.tokens import utf8_bytes
from kong_plugins.llm.usage import Usage

# The smallest event that a stream may have anywhere.
_PING_BYTES: Final = len(b'event: ping\ndata: {"type":"ping"}\n\n')


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count
    ephemeral_1h_input_tokens: Count


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Count | None = None


class _WireUsage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _WireUsage | None = None


class _Piece(msgspec.Struct):
    """A content block as it begins, or a delta, of a block or of the message."""

    type: str | None = None
    text: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    """One event of a stream, of whatever type."""

    type: str = ""
    index: int | None = None
    message: _Message | None = None
    content_block: _Piece | None = None
    delta: _Piece | None = None
    usage: _WireUsage | None = None


def read_message(answer: Answer) -> Reading:
    """The usage of an answer in one piece."""
    whole = answer.whole
    if whole is not None:
        message = decoded(whole, _Message) or _Message()
        return _reading(message.usage, model=message.model)
    beginning = first_members(answer.head.decode(errors="replace"))
    end = decoded_from_usage_on(answer.tail, _Message) if answer.complete else None
    return _reading(end.usage if end else None, model=beginning.get("model"))


def read_stream(answer: Answer) -> Reading:
    """The usage of an event stream, or what has been seen of it before it broke off."""
    head, tail = events_at_both_ends(answer)
    return read_events(
        [event.data or b"{}" for event in head],
        None if answer.whole is not None else [event.data or b"{}" for event in tail],
        bound_of=lambda content_bytes: sent_bound_tokens(
            answer, head + tail, content_bytes=content_bytes, envelope_bytes=_PING_BYTES
        ),
    )


def read_events(head: list[bytes], tail: list[bytes] | None, *, bound_of: Callable[[int], int]) -> Reading:
    """The usage that the events at both ends of a stream tell, or what has been seen of it before it broke off; without
    a tail the head is all there is. `bound_of` bounds the output by the bytes of the texts among them."""
    beginning, end = ([decoded(event, _Event) for event in events] for events in (head, tail or []))
    events = beginning + end
    message = next((event.message for event in events if event and event.message), _Message())
    final = _final_usage(events)
    if final is not None:
        return _reading(_overlaid(message.usage, final), model=message.model)
    texts = _texts(beginning, end if tail is not None else None)
    known = _reading(_overlaid(message.usage, _WireUsage(output_tokens=0)), model=message.model)
    return Reading(
        input_usage=known.usage,
        unsplit_writes=known.unsplit_writes,
        response_model=known.response_model,
        sent_bound_tokens=None if texts is None else bound_of(sum(map(utf8_bytes, texts))),
    )


def _final_usage(events: list[_Event | None]) -> _WireUsage | None:
    """The output as the last message_delta tells it, if the message was over by then."""
    over = False
    for event in reversed(events):
        if event is None:
            continue
        if event.type == "message_stop":
            over = True
        if event.type == "message_delta" and event.usage is not None:
            is_final = over or (event.delta is not None and event.delta.stop_reason is not None)
            return event.usage if is_final else None
    return None


def _texts(beginning: list[_Event | None], end: list[_Event | None] | None) -> list[str] | None:
    """The texts that were sent; None where there was, or may have been, other output: thinking, which is longer than
    what is shown of it, or the call of a tool, whose markup is billed and not shown.

    No block can have begun between the two ends where those seen are numbered from 0 without a gap.
    """
    pieces: list[_Piece] = []
    begun: set[int] = set()
    numbers: set[int] = set()
    for event in beginning + (end or []):
        if event is None:
            return None
        piece = event.content_block or event.delta
        if event.index is None or piece is None:
            continue
        numbers.add(event.index)
        if event.content_block is not None:
            begun.add(event.index)
        pieces.append(piece)
    if any(piece.type not in ("text", "text_delta") for piece in pieces):
        return None
    is_gapless = numbers <= begun == set(range(len(begun)))
    is_end_known = end is None or any(event is not None and event.index is not None for event in end)
    return [piece.text or "" for piece in pieces] if is_gapless and is_end_known else None


def _overlaid(first: _WireUsage | None, later: _WireUsage) -> _WireUsage:
    """The first count with everything that the later one tells anew."""
    told = {name: value for name, value in msgspec.structs.asdict(later).items() if value is not None}
    return msgspec.structs.replace(first or _WireUsage(), **told)


def _reading(usage: _WireUsage | None, *, model: object) -> Reading:
    """Usage in our terms; none where a count is missing, or contradicts another."""
    response_model = readable_model_name(model)
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return Reading(response_model=response_model)
    split = usage.cache_creation
    split_tokens = split.ephemeral_5m_input_tokens + split.ephemeral_1h_input_tokens if split else 0
    written = split_tokens if usage.cache_creation_input_tokens is None else usage.cache_creation_input_tokens
    is_split = written == split_tokens
    read = usage.cache_read_input_tokens or 0
    details = usage.output_tokens_details or _OutputDetails()
    try:
        found = Usage(
            input_tokens=usage.input_tokens + written + read,
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=split.ephemeral_1h_input_tokens if split and is_split else 0,
            output_tokens=usage.output_tokens,
            reasoning_tokens=details.thinking_tokens or 0,
        )
    except ValueError:
        return Reading(response_model=response_model)
    return Reading(usage=found, unsplit_writes=not is_split, response_model=response_model)
