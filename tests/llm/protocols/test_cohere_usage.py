"""What Cohere's chats say of their usage, in real shapes, whole and streamed, and cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import CORPUS, EVENT_STREAM, capture, tapped

WHOLE = {
    "plain.json": Usage(input_tokens=5, output_tokens=418),
    "cached.json": Usage(input_tokens=5, output_tokens=2),
    "tool-call.json": Usage(input_tokens=37, output_tokens=28),
    "unbilled.json": Usage(input_tokens=71, output_tokens=3),
    "hostile.json": Usage(input_tokens=9, output_tokens=9000),
}
STREAMS = {
    "plain.sse": Usage(input_tokens=3, output_tokens=4),
    "done.sse": Usage(input_tokens=3, output_tokens=2),
    "hostile.sse": Usage(input_tokens=33, output_tokens=120),
    "long.sse": Usage(input_tokens=38, output_tokens=750),
    "tool-call.sse": Usage(input_tokens=37, output_tokens=28),
    "thinking.sse": Usage(input_tokens=11, output_tokens=310),
}
EXPECTED = WHOLE | STREAMS


def reading(body: bytes, *, stream: bool = False, complete: bool = True, encoding: str = "") -> Reading:
    kind = EVENT_STREAM if stream else "application/json"
    answer = tapped(body, content_type=kind, complete=complete, encoding=encoding)
    return wire_format("cohere_chat").read_answer(answer)


def captured(name: str) -> bytes:
    return capture("cohere_chat", name)


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    assert reading(captured(name), stream=name in STREAMS) == Reading(usage=EXPECTED[name])


def test_every_capture_has_its_expectation() -> None:
    assert {path.name for path in (CORPUS / "cohere_chat").iterdir()} == {*EXPECTED, "error-mid-stream.sse"}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = captured(name)

    for end in [*range(min(1000, len(body))), *range(max(0, len(body) - 1000), len(body))]:
        assert reading(body[:end], complete=False) == Reading()


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_bounded_by_what_was_sent(name: str) -> None:
    body = captured(name)
    over_at = body.index(b"\n\n", body.rindex(b"event: message-end")) + 2
    said = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b'data: {"type": "content-delta"')]
    texts = [each["delta"]["message"]["content"].get("text", "") for each in said]

    for end in [*range(0, len(body), 1 if len(body) < 10_000 else 307), over_at - 1, over_at]:
        read = reading(body[:end], stream=True, complete=False)
        assert read.usage == (EXPECTED[name] if end >= over_at else None)
        if end < over_at and name == "thinking.sse":
            assert (read.sent_bound_tokens is None) == (body[:end].count(b"\n\n") > 1)
        elif end < over_at:
            ended = body[:end].count(b"event: content-delta") - (not body[:end].endswith(b"\n\n"))
            assert read.sent_bound_tokens is not None
            assert read.sent_bound_tokens >= sum(len(text.encode()) for text in texts[: max(0, ended)]) + SLACK_TOKENS


def test_an_end_in_an_error_without_a_count_is_unknown() -> None:
    assert reading(captured("error-mid-stream.sse"), stream=True) == Reading()
    assert reading(event("message-end"), stream=True) == Reading()


def test_what_cannot_be_read_counts_as_output() -> None:
    plain = event("content-delta", delta={"message": {"content": {"text": "abc"}}})
    comment = b": keep-alive\n\n"

    assert reading(plain + comment, stream=True, complete=False).sent_bound_tokens == 3 + SLACK_TOKENS
    hidden = reading(plain + b"data: <html>\n\n", stream=True, complete=False).sent_bound_tokens
    assert hidden == 3 + len(b"data: <html>\n\n") + SLACK_TOKENS


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"billed_units": {"input_tokens": 5}},
        {"billed_units": {"input_tokens": -1, "output_tokens": 5}},
        {"billed_units": {"input_tokens": "5", "output_tokens": 5}},
        {"billed_units": {"input_tokens": 1e30, "output_tokens": 5}},
    ],
)
@pytest.mark.parametrize("length", [0, 30_000])
def test_usage_that_makes_no_sense_is_no_usage(usage: object, length: int) -> None:
    assert reading(json.dumps({"message": "x" * length, "usage": usage}).encode()) == Reading()


def test_a_fraction_of_a_token_is_billed_as_one() -> None:
    usage = {"billed_units": {"input_tokens": 4.2, "output_tokens": 5.0}}

    assert reading(json.dumps({"usage": usage}).encode()).usage == Usage(input_tokens=5, output_tokens=5)


def test_what_is_no_answer_or_compressed_says_nothing() -> None:
    assert reading(captured("plain.json"), encoding="gzip") == reading(b"<html>") == Reading()
