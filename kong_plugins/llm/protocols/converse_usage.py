"""Usage in Bedrock's Converse, streamed and not, read from the two ends of the body that the tap kept.

A stream tells all of it in its last message, `metadata`. Bedrock counts what the cache has read and written beside its
`inputTokens`; ours include it. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
"""

from __future__ import annotations

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
from kong_plugins.llm.protocols.bedrock import tier_served
from kong_plugins.llm.protocols.eventstream import Message, messages_at_both_ends, sent_bound_tokens
from kong_plugins.llm.tokens import utf8_bytes
from kong_plugins.llm.usage import Usage

_CHECKSUM_BYTES: Final = 4


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str
    input_tokens: Count


class _WireUsage(msgspec.Struct, rename="camel"):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_details: list[_CacheDetail] | None = None


class _ServiceTier(msgspec.Struct):
    type: str | None = None


class _PromptRouter(msgspec.Struct, rename="camel"):
    invoked_model_id: str | None = None


class _Trace(msgspec.Struct, rename="camel"):
    prompt_router: _PromptRouter | None = None


class _Document(msgspec.Struct, rename="camel"):
    """An answer in one piece, or the `metadata` of a stream."""

    usage: _WireUsage | None = None
    service_tier: _ServiceTier | None = None
    trace: _Trace | None = None


class _Delta(msgspec.Struct):
    text: str | None = None


class _ContentEvent(msgspec.Struct, rename="camel"):
    """What a stream says of a content block: that it begins or ends, or a piece of it."""

    content_block_index: int | None = None
    delta: _Delta | None = None


def read_converse(answer: Answer) -> Reading:
    """The usage of an answer in one piece."""
    whole = answer.whole
    if whole is not None:
        return _reading(decoded(whole, _Document))
    if not answer.complete:
        return Reading()
    document = decoded_from_usage_on(answer.tail, _Document)
    return _reading(document or _beginning(answer.head))


def read_converse_stream(answer: Answer) -> Reading:
    """The usage of a stream, or what bounds it where it broke off before it was told."""
    head, tail = messages_at_both_ends(answer)
    messages = head + tail
    metadata = next((each.payload for each in reversed(messages) if each.event_type == "metadata"), None)
    reading = _reading(decoded(metadata, _Document) if metadata is not None else _long_metadata(answer))
    if reading.usage is not None:
        return reading
    texts = _texts(head, tail, is_whole=answer.whole is not None)
    if texts is None:
        return reading
    content_bytes = sum(map(utf8_bytes, texts))
    return Reading(sent_bound_tokens=sent_bound_tokens(answer, messages, content_bytes=content_bytes))


def _beginning(head: bytes) -> _Document | None:
    """The document's first members, where the usage is among them."""
    try:
        return msgspec.convert(first_members(head.decode(errors="replace")), _Document)
    except msgspec.ValidationError:
        return None


def _long_metadata(answer: Answer) -> _Document | None:
    """The end of a `metadata` longer than the tail, as the trace of a guardrail makes it: `usage` stands last in it."""
    return decoded_from_usage_on(answer.tail[:-_CHECKSUM_BYTES], _Document) if answer.complete else None


def _texts(head: list[Message], tail: list[Message], *, is_whole: bool) -> list[str] | None:
    """The texts that were sent; None where there was, or may have been, other output: reasoning, which is longer than
    what is shown of it, or the call of a tool, whose markup is billed and not shown.

    No other block can lie between the two ends where those seen, of text all, are numbered from 0 without a gap.
    """
    texts: list[str] = []
    numbers: set[int] = set()
    of_text: set[int] = set()
    numbers_of_tail: set[int] = set()
    for messages, seen in ((head, numbers), (tail, numbers_of_tail)):
        for message in messages:
            event = decoded(message.payload, _ContentEvent)
            if event is None:
                return None
            if event.content_block_index is None:
                continue
            seen.add(event.content_block_index)
            if event.delta is not None:
                if event.delta.text is None:
                    return None
                of_text.add(event.content_block_index)
                texts.append(event.delta.text)
    is_gapless = (numbers | numbers_of_tail) == of_text == set(range(len(of_text)))
    return texts if is_gapless and (is_whole or numbers_of_tail) else None


def _reading(document: _Document | None) -> Reading:
    """Usage in our terms; none where a count is missing, or contradicts another."""
    if document is None:
        return Reading()
    router = document.trace and document.trace.prompt_router
    tier = document.service_tier and document.service_tier.type
    usage, is_split = _normal(document.usage)
    return Reading(
        usage=usage,
        unsplit_writes=not is_split,
        response_model=readable_model_name(router.invoked_model_id) if router else None,
        service_tier=tier_served(tier),
    )


def _normal(usage: _WireUsage | None) -> tuple[Usage | None, bool]:
    """The usage, and whether it says for how long the cache keeps what was written."""
    if usage is None:
        return None, True
    details = usage.cache_details or []
    detailed_tokens = sum(detail.input_tokens for detail in details)
    written = detailed_tokens if usage.cache_write_input_tokens is None else usage.cache_write_input_tokens
    is_split = written == detailed_tokens
    read = usage.cache_read_input_tokens or 0
    hour_tokens = sum(detail.input_tokens for detail in details if detail.ttl == "1h")
    return (
        Usage(
            input_tokens=usage.input_tokens + written + read,
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=hour_tokens if is_split else 0,
            output_tokens=usage.output_tokens,
        ),
        is_split,
    )
