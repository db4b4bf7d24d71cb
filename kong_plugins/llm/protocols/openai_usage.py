"""Usage in OpenAI's answers to chats and completions, streamed and not, read from the two ends that the tap kept.

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
    decoded_from_member_on,
    decoded_from_usage_on,
    readable_model_name,
)
from kong_plugins.llm.protocols.openai_dialect import served_tier
from kong_plugins.llm.protocols.sse import Event, sent_bound_tokens, whole_events
from kong_plugins.llm.tokens import strings_in, utf8_bytes
from kong_plugins.llm.usage import Usage

_DONE: Final = b"[DONE]"


class _PromptDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _WireUsage(msgspec.Struct):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    # DeepSeek's own name for what its cache has read.
    prompt_cache_hit_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Document(msgspec.Struct):
    """A completion, or one chunk of it."""

    model: str | None = None
    service_tier: Any = None
    usage: _WireUsage | None = None
    choices: list[Any] | None = None


class _Choice(msgspec.Struct):
    """A piece of an answer: a chat's delta, or a completion's text."""

    delta: dict[str, Any] = {}
    text: str = ""


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


def read_completion(answer: Answer) -> Reading:
    """The usage of an answer in one piece; its head, too, since some providers write usage before the choices."""
    whole = answer.whole
    if whole is not None:
        return _reading(_document(whole))
    beginning = first_members(answer.head.decode(errors="replace"))
    end = _last_members(answer.tail) if answer.complete else None
    usage = _wire_usage(beginning.get("usage")) if answer.complete else None
    return _reading(
        end if end is not None and end.usage is not None else _Document(usage=usage),
        model=beginning.get("model"),
        tier=beginning.get("service_tier"),
    )


def _last_members(tail: bytes) -> _Document | None:
    """The document's end, from the model's name on where it stands there, as Azure has it, else from the usage on."""
    named = decoded_from_member_on(tail, "model", _Document)
    return named if named is not None and named.usage is not None else decoded_from_usage_on(tail, _Document)


def read_stream(answer: Answer) -> Reading:
    """The usage of an event stream: that of its last chunk that has one, if the stream was over by then."""
    events = whole_events(answer)
    chunks = [_document(event.data) for event in events if event.data not in (b"", _DONE)]
    models = (readable_model_name(chunk.model) for chunk in chunks)
    # Each chunk names the tier; where the first ones say "auto", the later ones know.
    tiers = (served_tier(chunk.service_tier) for chunk in reversed(chunks))
    final = _reading(_final_chunk(events), model=next(filter(None, models), None), tier=next(filter(None, tiers), None))
    if final.usage is not None:
        return final
    return msgspec.structs.replace(final, sent_bound_tokens=_sent_bound_tokens(answer, events))


def _reading(document: _Document, *, model: object = None, tier: object = None) -> Reading:
    usage = _normal(document.usage)
    return Reading(
        usage=usage,
        # Nowhere does it say for how long the cache keeps them.
        unsplit_writes=usage is not None and usage.cache_write_tokens > 0,
        response_model=readable_model_name(document.model or model),
        service_tier=served_tier(document.service_tier or tier),
    )


def _final_chunk(events: list[Event]) -> _Document:
    """The last chunk that tells usage, if the stream was over by then."""
    over = False
    for event in reversed(events):
        if event.data == _DONE:
            over = True
            continue
        chunk = _document(event.data)
        if chunk.usage is not None:
            return chunk if over or not chunk.choices else _Document()
    return _Document()


def _sent_bound_tokens(answer: Answer, events: list[Event]) -> int:
    """What bounds the output; the smallest envelope seen around a chunk's text is taken for that of the unseen ones."""
    contents = [_content_bytes(event) for event in events]
    envelopes = (
        event.size_bytes - content for event, content in zip(events, contents, strict=True) if event.data != _DONE
    )
    return sent_bound_tokens(answer, events, content_bytes=sum(contents), envelope_bytes=min(envelopes, default=0))


def _content_bytes(event: Event) -> int:
    """The bytes of all texts in a chunk; the whole event where it cannot be read."""
    if event.data in (b"", _DONE):
        return 0
    try:
        chunk = msgspec.json.decode(event.data, type=_Chunk)
    except msgspec.DecodeError:
        return event.size_bytes
    told = ([choice.delta, choice.text] for choice in chunk.choices or ())
    return sum(utf8_bytes(text) for pieces in told for text in strings_in(pieces, names=False))


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
            cache_read_tokens=prompt.cached_tokens or usage.prompt_cache_hit_tokens or 0,
            cache_write_tokens=prompt.cache_write_tokens or 0,
            output_tokens=max(usage.completion_tokens, (usage.total_tokens or 0) - usage.prompt_tokens),
            reasoning_tokens=completion.reasoning_tokens or 0,
            input_audio_tokens=prompt.audio_tokens or 0,
            input_image_tokens=prompt.image_tokens or 0,
            output_audio_tokens=completion.audio_tokens or 0,
            output_image_tokens=completion.image_tokens or 0,
        )
    except ValueError:
        return None
