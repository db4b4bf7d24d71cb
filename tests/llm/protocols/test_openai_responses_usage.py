"""What OpenAI's responses say of their usage, in real shapes, whole and streamed, and cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import EVENT_STREAM, capture, cuts_of, names_in, tapped, tapped_capture

PROTOCOL = "openai_responses"
RESPONSES = wire_format(PROTOCOL)

EXPECTED = {
    "plain.json": Usage(input_tokens=36, output_tokens=87),
    "pretty.json": Usage(input_tokens=9, output_tokens=11),
    "cached.json": Usage(input_tokens=2006, cache_read_tokens=1920, output_tokens=300),
    "cache-writes.json": Usage(input_tokens=3000, cache_read_tokens=1024, cache_write_tokens=1900, output_tokens=21),
    "reasoning.json": Usage(input_tokens=81, output_tokens=1035, reasoning_tokens=832),
    "tool-call.json": Usage(input_tokens=291, output_tokens=23),
    "incomplete.json": Usage(input_tokens=12, output_tokens=16),
    "refusal.json": Usage(input_tokens=81, output_tokens=11),
    "flex.json": Usage(input_tokens=30, output_tokens=4),
    "priority.json": Usage(input_tokens=30, output_tokens=3),
    "structured.json": Usage(input_tokens=92, output_tokens=17),
    "long.json": Usage(input_tokens=18, output_tokens=9600),
    "metadata.json": Usage(input_tokens=18, output_tokens=9601),
    "usage-first.json": Usage(input_tokens=18, output_tokens=9602),
    "hostile.json": Usage(input_tokens=40, output_tokens=120),
    "hostile-long.json": Usage(input_tokens=40, output_tokens=9700),
    "two-usages.json": Usage(input_tokens=70, output_tokens=50),
    "plain.sse": Usage(input_tokens=37, output_tokens=11),
    "incomplete.sse": Usage(input_tokens=12, output_tokens=16),
    "tool-call.sse": Usage(input_tokens=60, output_tokens=17),
    "reasoning.sse": Usage(input_tokens=81, cache_read_tokens=64, output_tokens=900, reasoning_tokens=832),
    "priority.sse": Usage(input_tokens=20, output_tokens=2),
    "done.sse": Usage(input_tokens=20, output_tokens=3),
    "hostile.sse": Usage(input_tokens=40, output_tokens=66),
    "long.sse": Usage(input_tokens=18, cache_read_tokens=5, output_tokens=5600),
    "long-hostile.sse": Usage(input_tokens=18, output_tokens=5601),
    "failed-billed.sse": Usage(input_tokens=22, output_tokens=3),
}
WITHOUT_USAGE = {"failed.json", "failed.sse", "error.sse"}
TIERS = {"flex.json": "flex", "priority.json": "priority", "priority.sse": "priority", "long-hostile.sse": "flex"}
STREAMS = sorted(name for name in EXPECTED if name.endswith(".sse"))
LAST_EVENTS = (b'"type":"response.completed"', b'"type":"response.incomplete"', b'"type":"response.failed"')


def read(name: str, end: int | None = None) -> Reading:
    return RESPONSES.read_answer(tapped_capture(PROTOCOL, name, end=end))


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def delta(text: object, kind: str = "response.output_text.delta") -> bytes:
    return event(kind, delta=text)


def broken_off(*events: bytes) -> Reading:
    return RESPONSES.read_answer(tapped(b"".join(events), content_type=EVENT_STREAM, complete=False))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    found = read(name)

    assert found.usage == EXPECTED[name]
    assert found.response_model
    assert found.service_tier == TIERS.get(name, "standard")


def test_every_capture_has_its_expectation() -> None:
    assert names_in(PROTOCOL) == EXPECTED.keys() | WITHOUT_USAGE


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(STREAMS)))
def test_a_response_cut_anywhere_is_unknown(name: str) -> None:
    assert all(read(name, end).usage is None for end in cuts_of(capture(PROTOCOL, name)))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_declared_less(name: str) -> None:
    body = capture(PROTOCOL, name)
    over_at = body.index(b"\n\n", max(map(body.rfind, LAST_EVENTS))) + 2

    for end in [*cuts_of(body), over_at - 1, over_at]:
        found = read(name, end)
        assert found.usage == (EXPECTED[name] if end >= over_at else None)
        assert (found.sent_bound_tokens is None) == (end >= over_at)


def test_a_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text() -> None:
    end = capture(PROTOCOL, "plain.sse").index(b"event: response.output_text.done")

    assert read("plain.sse", end).sent_bound_tokens == (
        len("Hi there! How can I assist you today?") + len("msg_1messagein_progressassistant") + SLACK_TOKENS
    )


def test_a_long_stream_that_breaks_off_is_bounded_too() -> None:
    words = [f" word {number} of an answer that goes on" for number in range(400)]

    bound = broken_off(*map(delta, words)).sent_bound_tokens

    assert bound is not None
    assert bound >= sum(map(len, words))


@pytest.mark.parametrize("name", sorted(WITHOUT_USAGE))
def test_a_failed_response_without_usage_is_never_zero(name: str) -> None:
    found = read(name)

    assert found.usage is None
    assert (found.sent_bound_tokens or 0) > 0 or name.endswith(".json")


@pytest.mark.parametrize(
    ("sent", "least"),
    [
        (delta("abc"), 3),
        (delta({"command": ["ls", "-la"]}, "response.shell_call_command.delta"), 5),
        (event("response.output_item.added", item={"name": "look_up"}), 7),
        (event("response.output_item.done", item={"type": "local_shell_call", "action": {"command": ["ls"]}}), 2),
        (b"data: <html>\n\n", len(b"data: <html>\n\n")),
        (event("response.output_item.done", item={"type": "message", "content": "told before"}), 0),
        (b": keep-alive\n\n", 0),
    ],
)
def test_whatever_a_model_has_written_counts_as_sent(sent: bytes, least: int) -> None:
    bound = broken_off(sent).sent_bound_tokens

    assert bound is not None
    assert bound >= least + SLACK_TOKENS
    assert least or bound == SLACK_TOKENS


def test_an_event_of_another_kind_is_not_taken_for_the_last_one() -> None:
    lie = {"usage": {"input_tokens": 0, "output_tokens": 0}}
    padding = delta("x" * 30_000)

    assert broken_off(padding, event("response.in_progress", response=lie)).usage is None
    assert broken_off(padding, event("response.output_item.done", item=lie)).usage is None
    assert broken_off(event("response.output_item.done", item={"text": "x" * 30_000, "tools": [lie]})).usage is None


@pytest.mark.parametrize("value", [None, -1, "5", 1.5, 10**9 + 1, 10**30, True, [], {}])
@pytest.mark.parametrize("length", [0, 30_000])
def test_a_count_that_is_none_is_no_usage(value: object, length: int) -> None:
    usage = {"input_tokens": value, "output_tokens": 5}
    first = json.dumps({"usage": usage, "output": "x" * length, "model": "m"}).encode()
    last = json.dumps({"output": "x" * length, "usage": usage}).encode()

    assert RESPONSES.read_answer(tapped(first)).usage is None
    assert RESPONSES.read_answer(tapped(last)).usage is None


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 5}, {"total_tokens": 5}])
def test_missing_usage_is_never_zero(usage: object) -> None:
    assert RESPONSES.read_answer(tapped(json.dumps({"usage": usage}).encode())).usage is None


def test_usage_that_contradicts_itself_is_no_usage() -> None:
    usage = {"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 6}}

    assert RESPONSES.read_answer(tapped(json.dumps({"usage": usage}).encode())).usage is None


def test_output_that_is_only_in_the_total_counts() -> None:
    usage = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 20}

    found = RESPONSES.read_answer(tapped(json.dumps({"usage": usage}).encode()))

    assert found.usage == Usage(input_tokens=5, output_tokens=15)


def test_a_compressed_answer_is_not_read() -> None:
    body = capture(PROTOCOL, "plain.json")

    assert RESPONSES.read_answer(tapped(body, encoding="gzip")) == Reading()
