"""Usage in what Bedrock's InvokeModel answers for Anthropic's models, read from headers, body and stream.

AWS's own count stands in headers, or in the last event of a stream; it is what the bill is made of. The message's own
says beside it for how long the cache keeps what was written. As in Anthropic's, what is cached is counted beside the
input. https://docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from kong_plugins.llm.protocols.answers import Answer, Count, Reading, decoded
from kong_plugins.llm.protocols.anthropic_usage import read_events, read_message
from kong_plugins.llm.protocols.bedrock import tier_served
from kong_plugins.llm.protocols.eventstream import Message, messages_at_both_ends, sent_bound_tokens
from kong_plugins.llm.usage import Usage

_INPUT: Final = "x-amzn-bedrock-input-token-count"
_OUTPUT: Final = "x-amzn-bedrock-output-token-count"
_CACHE_READ: Final = "x-amzn-bedrock-cache-read-input-token-count"
_CACHE_WRITE: Final = "x-amzn-bedrock-cache-write-input-token-count"
_TIER: Final = "x-amzn-bedrock-service-tier"
ANSWER_HEADERS: Final = (_INPUT, _OUTPUT, _CACHE_READ, _CACHE_WRITE, _TIER)

_UNREADABLE: Final = b"unreadable"


class _Counts(msgspec.Struct, rename="camel"):
    """AWS's own count of a call."""

    input_token_count: Count
    output_token_count: Count
    cache_read_input_token_count: Count = 0
    cache_write_input_token_count: Count = 0


class _Chunk(msgspec.Struct):
    """The payload of a stream's message: an event of the model's own stream, in base64."""

    bytes: str


class _LastEvent(msgspec.Struct):
    metrics: _Counts | None = msgspec.field(name="amazon-bedrock-invocationMetrics", default=None)


def read_invocation(answer: Answer) -> Reading:
    """The usage of an answer in one piece; its headers tell it even where the body is cut off."""
    return _billed(read_message(answer), _counts_in_headers(answer.headers), answer)


def read_invocation_stream(answer: Answer) -> Reading:
    """The usage of a stream, or what bounds it where it broke off before it was told."""
    head, tail = messages_at_both_ends(answer)
    beginning, end = ([_event(message) for message in messages] for messages in (head, tail))
    reading = read_events(
        beginning,
        None if answer.whole is not None else end,
        bound_of=lambda content_bytes: sent_bound_tokens(answer, head + tail, content_bytes=content_bytes),
    )
    ends = (decoded(event, _LastEvent) for event in reversed(beginning + end))
    return _billed(reading, next((each.metrics for each in ends if each and each.metrics), None), answer)


def _event(message: Message) -> bytes:
    """The model's own event in a message; what is none where it cannot be read."""
    chunk = decoded(message.payload, _Chunk) if message.event_type == "chunk" else None
    try:
        return _UNREADABLE if chunk is None else base64.b64decode(chunk.bytes, validate=True)
    except (binascii.Error, ValueError):
        return _UNREADABLE


def _counts_in_headers(headers: dict[str, str]) -> _Counts | None:
    told = {
        "inputTokenCount": headers.get(_INPUT),
        "outputTokenCount": headers.get(_OUTPUT),
        "cacheReadInputTokenCount": headers.get(_CACHE_READ, "0"),
        "cacheWriteInputTokenCount": headers.get(_CACHE_WRITE, "0"),
    }
    try:
        return msgspec.convert(told, _Counts, strict=False)
    except msgspec.ValidationError:
        return None


def _billed(reading: Reading, counts: _Counts | None, answer: Answer) -> Reading:
    """The reading with AWS's own count, where there is one; the message's own where it says the same."""
    tiered = msgspec.structs.replace(reading, service_tier=tier_served(answer.headers.get(_TIER)))
    if counts is None:
        return tiered
    written, read = counts.cache_write_input_token_count, counts.cache_read_input_token_count
    counted = Usage(
        input_tokens=counts.input_token_count + written + read,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=counts.output_token_count,
    )
    if reading.usage is not None and _plain(reading.usage) == counted:
        return tiered
    return msgspec.structs.replace(tiered, usage=counted, unsplit_writes=written > 0)


def _plain(usage: Usage) -> Usage:
    """The usage as far as AWS counts it."""
    return msgspec.structs.replace(usage, cache_write_1h_tokens=0, reasoning_tokens=0)
