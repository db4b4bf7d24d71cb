"""Usage in OpenAI's answers of images and speech, which stands behind megabytes of them, or nowhere.

What is drawn or spoken comes as base64, in which there is no quote, so nothing in it looks like usage.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from kong_plugins.llm.protocols.answers import Answer, Count, Reading, decoded, decoded_from_usage_on
from kong_plugins.llm.protocols.sse import events_at_both_ends, torn_event
from kong_plugins.llm.usage import Usage

Medium = Literal["image", "audio"]


class _Details(msgspec.Struct):
    image_tokens: Count | None = None
    audio_tokens: Count | None = None


class _WireUsage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Document(msgspec.Struct):
    """A whole answer, or one event."""

    type: str = ""
    data: Any = None
    usage: _WireUsage | None = None


def read_media(answer: Answer, *, output: Medium) -> Reading:
    """The usage of an answer in one piece; where it tells none, whether there is one. What its output tokens are, and
    it does not say, is `output`."""
    whole = answer.whole
    if not answer.complete and whole is None:
        return Reading()
    document = decoded_from_usage_on(answer.tail, _Document) if whole is None else decoded(whole, _Document)
    usage = _normal(document.usage, output) if document else None
    has_data = answer.tail.rstrip().endswith(b"}") if whole is None else document is not None and bool(document.data)
    return Reading(usage=usage, as_asked=usage is None and answer.complete and has_data)


def read_media_stream(answer: Answer, *, last_events: Collection[str], output: Medium) -> Reading:
    """The usage that the last event tells, which is of one of these types."""
    beginning, end = events_at_both_ends(answer)
    for event in reversed(beginning + end):
        document = decoded(event.data or b"{}", _Document)
        if document is not None and document.type in last_events:
            return Reading(usage=_normal(document.usage, output))
    torn = torn_event(answer)
    document = decoded_from_usage_on(torn.data or torn.lines, _Document) if torn and not end else None
    return Reading(usage=_normal(document.usage, output) if document else None)


def _normal(usage: _WireUsage | None, output: Medium) -> Usage | None:
    """Usage in our terms, or None where it contradicts itself."""
    if usage is None:
        return None
    read = usage.input_tokens_details or _Details()
    written = usage.output_tokens_details or _Details(**{f"{output}_tokens": usage.output_tokens})
    try:
        return Usage(
            input_tokens=usage.input_tokens,
            input_image_tokens=read.image_tokens or 0,
            input_audio_tokens=read.audio_tokens or 0,
            output_tokens=usage.output_tokens,
            output_image_tokens=written.image_tokens or 0,
            output_audio_tokens=written.audio_tokens or 0,
        )
    except ValueError:
        return None
