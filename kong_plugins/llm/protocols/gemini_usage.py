"""Usage in Gemini's answers: whole, as an event stream (`alt=sse`), and as the array that a stream is without it.

Each chunk of a stream tells the usage so far, of which the last one counts. Whether `candidatesTokenCount` includes the
thoughts differs between Google's two services, so the output is what the total leaves: total − prompt − tool use.
https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

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
from kong_plugins.llm.protocols.sse import Event, events_at_both_ends, sent_bound_tokens
from kong_plugins.llm.tokens import utf8_bytes
from kong_plugins.llm.usage import Usage

# The tiers at which a call was served, as Vertex (`trafficType`) and the Gemini API (`serviceTier`) name them.
# https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse
_TIERS: Final = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "STANDARD": "standard",
    "PRIORITY": "priority",
    "FLEX": "flex",
}
_BLANKS: Final = " \t\r\n,"


class _Modality(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: Count = 0


class _WireUsage(msgspec.Struct, rename="camel"):
    """Counts of zero are left out, but for the total; before that is told, nothing has been counted."""

    prompt_token_count: Count = 0
    cached_content_token_count: Count = 0
    candidates_token_count: Count = 0
    thoughts_token_count: Count = 0
    tool_use_prompt_token_count: Count = 0
    total_token_count: Count | None = None
    prompt_tokens_details: tuple[_Modality, ...] = ()
    cache_tokens_details: tuple[_Modality, ...] = ()
    candidates_tokens_details: tuple[_Modality, ...] = ()
    tool_use_prompt_tokens_details: tuple[_Modality, ...] = ()
    traffic_type: str | None = None
    service_tier: str | None = None


class _Content(msgspec.Struct):
    parts: list[dict[str, Any]] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    """An answer, or one chunk of it."""

    candidates: list[_Candidate] = []
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: _WireUsage | None = None
    model_version: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing is written after it: the model has come to its end, or the prompt was blocked."""
        return self.prompt_feedback is not None or any(each.finish_reason for each in self.candidates)

    @property
    def counted(self) -> _WireUsage | None:
        usage = self.usage_metadata
        return usage if usage is not None and usage.total_token_count is not None else None


def read_whole(answer: Answer) -> Reading:
    """The usage of an answer in one piece."""
    whole = answer.whole
    if whole is not None:
        return _reading(decoded(whole, _Chunk) or _Chunk())
    end = decoded_from_member_on(answer.tail, "usageMetadata", _Chunk) if answer.complete else None
    return _reading(end or _Chunk(model_version=_named(first_members(answer.head.decode(errors="replace")))))


def read_events(answer: Answer) -> Reading:
    """The usage of an event stream, or what has been seen of it before it broke off."""
    head, tail = events_at_both_ends(answer)
    beginning, end = ([decoded(event.data or b"{}", _Chunk) for event in events] for events in (head, tail))
    final = _final(beginning if answer.whole is not None else end)
    if final is not None:
        return final
    sent_tokens = _sent_bound_tokens(answer, head + tail, beginning + end)
    return _unfinished(beginning + end, sent_bound_tokens=sent_tokens)


def read_array(answer: Answer) -> Reading:
    """The usage of a stream that is one array, of which it sends an element at a time."""
    whole = answer.whole
    chunks = [_converted(item) for item in _elements(answer.head if whole is None else whole)]
    if whole is not None:
        return _final(chunks) or _unfinished(chunks)
    ends_well = answer.complete and answer.tail.rstrip().endswith(b"]")
    end = decoded_from_member_on(answer.tail.rstrip()[:-1], "usageMetadata", _Chunk) if ends_well else None
    return _reading(end) if end is not None and end.counted else _unfinished(chunks)


def _final(chunks: list[_Chunk | None]) -> Reading | None:
    """The usage as the last chunk that counts tells it, if the answer was over by then."""
    is_over, last = False, None
    for chunk in chunks:
        if chunk is None:
            return None
        is_over = is_over or chunk.is_last
        if chunk.counted is not None:
            last = chunk if is_over else None
    return None if last is None else _reading(last)


def _unfinished(chunks: Iterable[_Chunk | None], *, sent_bound_tokens: int | None = None) -> Reading:
    """What a stream that broke off has said of its input."""
    seen = [chunk for chunk in chunks if chunk is not None]
    counted = next((chunk for chunk in reversed(seen) if chunk.counted), _Chunk())
    known = _reading(counted)
    return Reading(
        input_usage=known.usage
        and msgspec.structs.replace(
            known.usage, output_tokens=0, reasoning_tokens=0, output_audio_tokens=0, output_image_tokens=0
        ),
        service_tier=known.service_tier,
        response_model=next((readable_model_name(chunk.model_version) for chunk in seen if chunk.model_version), None),
        sent_bound_tokens=sent_bound_tokens,
    )


def _sent_bound_tokens(answer: Answer, events: list[Event], chunks: list[_Chunk | None]) -> int | None:
    """What bounds the output; None where some of it was thought, of which less is shown. The smallest envelope seen
    around a chunk's text is taken for that of the unseen ones."""
    if any(chunk is not None and _has_thought(chunk) for chunk in chunks):
        return None
    contents = [
        event.size_bytes if chunk is None else _content_bytes(chunk, event)
        for event, chunk in zip(events, chunks, strict=True)
    ]
    envelopes = (event.size_bytes - content for event, content in zip(events, contents, strict=True))
    return sent_bound_tokens(answer, events, content_bytes=sum(contents), envelope_bytes=min(envelopes, default=0))


def _has_thought(chunk: _Chunk) -> bool:
    usage = chunk.usage_metadata
    return (usage is not None and usage.thoughts_token_count > 0) or any(
        part.get("thought") or "thoughtSignature" in part for part in _parts(chunk)
    )


def _content_bytes(chunk: _Chunk, event: Event) -> int:
    """The bytes of a chunk's text; all of its event where there is more than text, such as a function's call."""
    content_bytes = 0
    for part in _parts(chunk):
        text = part.get("text")
        if part.keys() != {"text"} or not isinstance(text, str):
            return event.size_bytes
        content_bytes += utf8_bytes(text)
    return content_bytes


def _parts(chunk: _Chunk) -> Iterator[dict[str, Any]]:
    for candidate in chunk.candidates:
        if candidate.content is not None:
            yield from candidate.content.parts


def _elements(data: bytes) -> Iterator[Any]:
    """The elements that are whole in `data`, the beginning of a JSON array that may be cut anywhere."""
    text, reader = data.decode(errors="replace").lstrip(), json.JSONDecoder()
    at = 1
    while True:
        while text[at : at + 1] and text[at] in _BLANKS:
            at += 1
        try:
            item, at = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield item


def _converted(item: Any) -> _Chunk | None:
    try:
        return msgspec.convert(item, _Chunk)
    except msgspec.ValidationError:
        return None


def _named(members: dict[str, Any]) -> str | None:
    return readable_model_name(members.get("modelVersion"))


def _reading(chunk: _Chunk) -> Reading:
    """A chunk's usage in our terms; none where it contradicts itself."""
    wire = chunk.counted
    model = readable_model_name(chunk.model_version)
    if wire is None:
        return Reading(response_model=model)
    try:
        usage = _usage(wire)
    except ValueError:
        return Reading(response_model=model)
    tier = _TIERS.get((wire.traffic_type or wire.service_tier or "").upper())
    return Reading(usage=usage, service_tier=tier, response_model=model)


def _usage(wire: _WireUsage) -> Usage:
    input_tokens = wire.prompt_token_count + wire.tool_use_prompt_token_count
    read_in = (*wire.prompt_tokens_details, *wire.tool_use_prompt_tokens_details)
    return Usage(
        input_tokens=input_tokens,
        cache_read_tokens=wire.cached_content_token_count,
        # A total that leaves out the thoughts is known by being smaller than what it is made of.
        output_tokens=max(
            (wire.total_token_count or 0) - input_tokens, wire.candidates_token_count, wire.thoughts_token_count
        ),
        reasoning_tokens=wire.thoughts_token_count,
        input_audio_tokens=_of_modality(read_in, "AUDIO"),
        input_image_tokens=_of_modality(read_in, "IMAGE"),
        input_video_tokens=_of_modality(read_in, "VIDEO"),
        cache_read_audio_tokens=_of_modality(wire.cache_tokens_details, "AUDIO"),
        cache_read_image_tokens=_of_modality(wire.cache_tokens_details, "IMAGE"),
        output_audio_tokens=_of_modality(wire.candidates_tokens_details, "AUDIO"),
        output_image_tokens=_of_modality(wire.candidates_tokens_details, "IMAGE"),
        output_video_tokens=_of_modality(wire.candidates_tokens_details, "VIDEO"),
    )


def _of_modality(details: Iterable[_Modality], modality: str) -> int:
    return sum(detail.token_count for detail in details if detail.modality == modality)
