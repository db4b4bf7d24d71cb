"""Usage in OpenAI's answers about sounds, behind the transcript: seconds, or tokens.

Vendors that tell no usage, such as Groq, may still say in front of the transcript how long the sound is, where it is
asked for in detail (`verbose_json`); and who bills by the second bills ten at least. In plain texts and subtitles there
is nothing, whatever is spoken in them.
https://developers.openai.com/api/reference/resources/audio/subresources/transcriptions
https://console.groq.com/docs/speech-to-text
"""

from __future__ import annotations

import re
from math import ceil
from typing import Annotated, Final

import msgspec

from kong_plugins.llm.protocols.answers import Answer, Count, Reading, decoded, decoded_from_usage_on
from kong_plugins.llm.protocols.sse import events_at_both_ends, torn_event
from kong_plugins.llm.usage import SECOND, Usage

# The least that a vendor bills.
LEAST_SECONDS: Final = 10
_LAST_EVENT: Final = "transcript.text.done"
# The beginning of a long answer, as far as it is sure whose members these are.
_DURATION_AHEAD: Final = re.compile(
    rb"""\s*\{\s*(?:"(?:task|language)"\s*:\s*"[\w -]*"\s*,\s*)*"duration"\s*:\s*([0-9]{1,9}(?:\.[0-9]{1,18})?)\s*,"""
)
# No sound that fits into a request takes a year.
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=365 * 86_400)]


class _Details(msgspec.Struct):
    audio_tokens: Count = 0


class _WireUsage(msgspec.Struct):
    type: str = ""
    seconds: _Seconds | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    input_token_details: _Details | None = None


class _Document(msgspec.Struct):
    """A whole answer, or one event."""

    type: str = ""
    usage: _WireUsage | None = None
    duration: _Seconds | None = None


def read_transcript(answer: Answer) -> Reading:
    """The usage of an answer, streamed or in one piece."""
    if not answer.is_readable:
        return Reading()
    if answer.is_event_stream:
        return Reading(usage=_streamed(answer))
    if not answer.content_type.lower().startswith("application/json"):
        return Reading()
    whole = answer.whole
    if not answer.complete and whole is None:
        return Reading()
    document = _long_document(answer) if whole is None else decoded(whole, _Document)
    if document is None or document.usage is not None:
        return Reading(usage=_normal(document))
    return Reading(usage=_lasting(document.duration))


def _long_document(answer: Answer) -> _Document | None:
    """What the two ends of an answer say."""
    told = decoded_from_usage_on(answer.tail, _Document)
    ahead = _DURATION_AHEAD.match(answer.head)
    return _Document(duration=float(ahead[1])) if told is None and ahead else told


def _streamed(answer: Answer) -> Usage | None:
    beginning, end = events_at_both_ends(answer)
    for event in reversed(beginning + end):
        document = decoded(event.data or b"{}", _Document)
        if document is not None and document.type == _LAST_EVENT:
            return _normal(document)
    torn = torn_event(answer)
    # No other event tells usage.
    return _normal(decoded_from_usage_on(torn.data or torn.lines, _Document)) if torn else None


def _lasting(seconds: float | None) -> Usage | None:
    """What is billed of a sound of this length."""
    return Usage(units={SECOND: max(ceil(seconds), LEAST_SECONDS)}) if seconds else None


def _normal(document: _Document | None) -> Usage | None:
    """Usage in our terms, or None where it contradicts itself, or counts nothing: seconds that have begun are whole."""
    told = document.usage if document else None
    if told is None:
        return None
    if told.type == "duration":
        return Usage(units={SECOND: ceil(told.seconds)}) if told.seconds else None
    audio_tokens = told.input_token_details.audio_tokens if told.input_token_details else 0
    if not audio_tokens <= told.input_tokens or not told.input_tokens:
        return None
    return Usage(input_tokens=told.input_tokens, input_audio_tokens=audio_tokens, output_tokens=told.output_tokens)
