"""Usage in OpenAI's chat answers, streamed and not, read from the two ends of the body that the tap kept.

The order is exact, then bounded, never zero for lack of reading. What a model writes lies inside JSON strings, where
every quote is escaped; so text that looks like usage is never taken for the provider's own.
"""

from __future__ import annotations

from typing import Any, Final

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
from kong_plugins.llm.protocols.sse import Event, sent_bound_tokens, whole_events
from kong_plugins.llm.tokens import strings_in, utf8_bytes
from kong_plugins.llm.usage import Usage

_DONE: Final = b"[DONE]"


class _PromptDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _WireUsage(msgspec.Struct):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Document(msgspec.Struct):
    """A completion, or one chunk of it."""

    model: str | None = None
    usage: _WireUsage | None = None
    choices: list[Any] | None = None


class _Choice(msgspec.Struct):
    delta: dict[str, Any] = {}


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


def read_completion(answer: Answer) -> Reading:
    """The usage of an answer in one piece; its head, too, since some providers write usage before the choices."""
    whole = answer.whole
    if whole is not None:
        document = _document(whole)
        return Reading(usage=_normal(document.usage), response_model=readable_model_name(document.model))
    beginning = first_members(answer.head.decode(errors="replace"))
    usage = (_usage_at_the_end(answer.tail) or _wire_usage(beginning.get("usage"))) if answer.complete else None
    return Reading(usage=_normal(usage), response_model=readable_model_name(beginning.get("model")))


def read_stream(answer: Answer) -> Reading:
    """The usage of an event stream: that of its last chunk that has one, if the stream was over by then."""
    events = whole_events(answer)
    usage = _final_usage(events)
    models = (readable_model_name(_document(event.data).model) for event in events)
    return Reading(
        usage=usage,
        sent_bound_tokens=None if usage else _sent_bound_tokens(answer, events),
        response_model=next(filter(None, models), None),
    )


def _final_usage(events: list[Event]) -> Usage | None:
    over = False
    for event in reversed(events):
        if event.data == _DONE:
            over = True
            continue
        chunk = _document(event.data)
        if chunk.usage is not None:
            return _normal(chunk.usage) if over or not chunk.choices else None
    return None


def _usage_at_the_end(tail: bytes) -> _WireUsage | None:
    document = decoded_from_usage_on(tail, _Document)
    return document.usage if document else None


def _sent_bound_tokens(answer: Answer, events: list[Event]) -> int:
    """What bounds the output; the smallest envelope seen around a chunk's text is taken for that of the unseen ones."""
    contents = [_content_bytes(event) for event in events]
    envelopes = (
        event.size_bytes - content for event, content in zip(events, contents, strict=True) if event.data != _DONE
    )
    return sent_bound_tokens(answer, events, content_bytes=sum(contents), envelope_bytes=min(envelopes, default=0))


def _content_bytes(event: Event) -> int:
    """The bytes of all texts in a chunk's deltas; the whole event where it cannot be read."""
    if event.data in (b"", _DONE):
        return 0
    try:
        chunk = msgspec.json.decode(event.data, type=_Chunk)
    except msgspec.DecodeError:
        return event.size_bytes
    return sum(utf8_bytes(text) for choice in chunk.choices or () for text in strings_in(choice.delta, names=False))


def _document(data: bytes) -> _Document:
    """The members that matter, all None where the data is not such a document or its usage makes no sense."""
    return decoded(data, _Document) or _Document()


def _wire_usage(value: object) -> _WireUsage | None:
    try:
        return msgspec.convert(value, _WireUsage)
    except msgspec.ValidationError:
        return None


def _normal(usage: _WireUsage | None) -> Usage | None:
    """Usage in our terms, or None where it contradicts itself.

    Providers that leave reasoning out of `completion_tokens` still count it in `total_tokens`.
    """
    if usage is None:
        return None
    prompt = usage.prompt_tokens_details or _PromptDetails()
    completion = usage.completion_tokens_details or _CompletionDetails()
    try:
        return Usage(
            input_tokens=usage.prompt_tokens,
            cache_read_tokens=prompt.cached_tokens or 0,
            cache_write_tokens=prompt.cache_write_tokens or 0,
            output_tokens=max(usage.completion_tokens, (usage.total_tokens or 0) - usage.prompt_tokens),
            reasoning_tokens=completion.reasoning_tokens or 0,
        )
    except ValueError:
        return None
