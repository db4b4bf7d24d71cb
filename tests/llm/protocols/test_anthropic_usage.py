"""What Anthropic's messages say of their usage, in real shapes, whole and streamed, and cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import CORPUS, EVENT_STREAM, capture, tapped

EXPECTED = {
    "plain.json": Usage(input_tokens=2095, output_tokens=503),
    "pretty.json": Usage(input_tokens=10, output_tokens=5),
    "cached.json": Usage(input_tokens=188_207, cache_read_tokens=100, cache_write_tokens=188_086, output_tokens=393),
    "cached-both-ttls.json": Usage(
        input_tokens=4096,
        cache_read_tokens=1800,
        cache_write_tokens=248,
        cache_write_1h_tokens=100,
        output_tokens=503,
    ),
    "cached-unsplit.json": Usage(input_tokens=312, cache_write_tokens=300, output_tokens=9),
    "thinking.json": Usage(input_tokens=51, output_tokens=212, reasoning_tokens=190),
    "tool-use.json": Usage(input_tokens=472, output_tokens=89),
    "hostile-tool-input.json": Usage(input_tokens=610, output_tokens=9120),
    "refusal.json": Usage(input_tokens=564, output_tokens=4),
    "plain.sse": Usage(input_tokens=25, output_tokens=15),
    "cached.sse": Usage(
        input_tokens=9771,
        cache_read_tokens=9100,
        cache_write_tokens=650,
        cache_write_1h_tokens=250,
        output_tokens=64,
    ),
    "thinking.sse": Usage(input_tokens=70, output_tokens=310, reasoning_tokens=288),
    "tool-use.sse": Usage(input_tokens=472, output_tokens=89),
    "refusal.sse": Usage(input_tokens=564, output_tokens=4),
    "stop-sequence.sse": Usage(input_tokens=20, output_tokens=8),
    "hostile.sse": Usage(input_tokens=33, output_tokens=120),
    "long.sse": Usage(input_tokens=38, cache_read_tokens=5, output_tokens=2712),
}
STREAMS = sorted(name for name in EXPECTED if name.endswith(".sse"))
# Those of which a client sees everything that is billed.
PLAIN_TEXT_STREAMS = ["plain.sse", "cached.sse", "refusal.sse", "stop-sequence.sse", "hostile.sse"]


def reading(body: bytes, *, stream: bool = False, **seen: Any) -> Reading:
    kind = EVENT_STREAM if stream else "application/json"
    return wire_format("anthropic_messages").read_answer(tapped(body, content_type=kind, **seen))


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def begun(**usage: Any) -> bytes:
    told = {"input_tokens": 10, "output_tokens": 1} | usage
    return event("message_start", message={"model": "claude-sonnet-4-5", "usage": told})


def delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def block(index: int = 0, kind: str = "text") -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, "text": ""})


def ended(**usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5} | usage)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    read = reading(capture("anthropic_messages", name), stream=name.endswith(".sse"))

    assert read.usage == EXPECTED[name]
    assert read.unsplit_writes == (name == "cached-unsplit.json")
    assert read.response_model is not None
    assert read.response_model.startswith("claude-")


def test_every_capture_has_its_expectation() -> None:
    assert {path.name for path in (CORPUS / "anthropic_messages").iterdir()} == {*EXPECTED, "error-mid-stream.sse"}


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(STREAMS)))
def test_a_message_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = capture("anthropic_messages", name)

    for end in range(min(3000, len(body))):
        assert reading(body[:end], complete=False).usage is None
    for end in range(max(0, len(body) - 3000), len(body)):
        assert reading(body[:end], complete=False).usage is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_declared_less(name: str) -> None:
    """Its input is known from the beginning on; its output is the provider's own or no less than what was sent."""
    body, expected = capture("anthropic_messages", name), EXPECTED[name]
    told_at = body.index(b"\n\n")
    over_at = body.index(b"\n\n", body.rindex(b"event: message_delta")) + 2

    for end in [*range(0, len(body), 1 if len(body) < 20_000 else 997), over_at - 1, over_at]:
        read = reading(body[:end], stream=True, complete=False)
        if end >= over_at:
            assert read.usage == expected
            continue
        assert read.usage is None
        if end < told_at + 2:
            assert read.input_usage is None
        else:
            assert read.input_usage is not None
            assert read.input_usage.output_tokens == 0
            assert read.input_usage.input_tokens == expected.input_tokens
            assert read.input_usage.cache_write_1h_tokens == expected.cache_write_1h_tokens


@pytest.mark.parametrize("name", PLAIN_TEXT_STREAMS)
def test_a_text_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text(name: str) -> None:
    body = capture("anthropic_messages", name)
    cut = body[: body.index(b"event: content_block_stop")]
    texts = [json.loads(line[6:])["delta"]["text"] for line in cut.splitlines() if b'"text_delta"' in line]

    read = reading(cut, stream=True, complete=False)

    assert read.sent_bound_tokens == sum(len(text.encode()) for text in texts) + SLACK_TOKENS


def test_a_long_text_stream_that_breaks_off_is_bounded_too() -> None:
    body = capture("anthropic_messages", "long.sse")
    cut = body[: body.index(b"event: content_block_stop")]

    read = reading(cut, stream=True, complete=False)

    assert read.sent_bound_tokens is not None
    assert read.sent_bound_tokens >= sum(len(f" word {number}") for number in range(900))


def test_an_error_in_the_middle_of_a_stream_leaves_what_was_sent_before_it() -> None:
    read = reading(capture("anthropic_messages", "error-mid-stream.sse"), stream=True)

    assert (read.usage, read.input_usage) == (None, Usage(input_tokens=40))
    assert read.sent_bound_tokens == len("Half an answ") + SLACK_TOKENS


@pytest.mark.parametrize("name", ["thinking.sse", "tool-use.sse"])
def test_output_that_the_client_sees_only_part_of_has_no_bound(name: str) -> None:
    body = capture("anthropic_messages", name)
    last_block = body.rindex(b"event: content_block_stop")

    assert reading(body[:last_block], stream=True, complete=False).sent_bound_tokens is None


@pytest.mark.parametrize(
    "hidden",
    [
        block(1) + delta("b", 1),
        delta("of another block", 1),
        b"data: <html>\n\n",
        event("content_block_delta", index=0, delta={"type": "citations_delta"}),
    ],
    ids=["numbers-with-a-gap", "block-not-seen", "unreadable", "other-delta"],
)
def test_a_stream_of_which_a_part_is_not_understood_has_no_bound(hidden: bytes) -> None:
    gap = block(2) + delta("c", 2) if b'"index": 1' in hidden and b"start" in hidden else b""
    body = begun() + (block() + delta("a") if not gap else b"") + hidden + gap

    read = reading(body, stream=True, complete=False)

    assert (read.usage, read.sent_bound_tokens) == (None, None)
    assert read.input_usage == Usage(input_tokens=10)


def test_a_block_that_may_have_begun_between_the_ends_has_no_bound() -> None:
    beginning = begun() + block() + delta("a")
    middle = block(1, "tool_use") + delta("x" * 30_000, 1)
    keepalives = event("ping") * 600

    assert reading(beginning + middle + keepalives, stream=True, complete=False).sent_bound_tokens is None
    assert reading(beginning + middle + keepalives + delta("b", 1), stream=True, complete=False).usage is None
    assert (
        reading(beginning + middle + keepalives + delta("b", 1), stream=True, complete=False).sent_bound_tokens is None
    )


def test_comments_that_keep_a_stream_alive_are_no_output() -> None:
    body = begun() + block() + b": keep-alive\n\n" + delta("abc")

    assert reading(body, stream=True, complete=False).sent_bound_tokens == 3 + SLACK_TOKENS


def test_half_a_character_from_a_model_does_not_hide_the_usage() -> None:
    whole = json.loads(capture("anthropic_messages", "plain.json"))
    whole["content"][0]["text"] = "\ud83d"

    assert reading(json.dumps(whole).encode()).usage == EXPECTED["plain.json"]
    assert reading(begun() + block() + delta("\ud83d") + ended(), stream=True).usage == Usage(
        input_tokens=10, output_tokens=5
    )


def test_usage_that_is_still_running_is_not_final() -> None:
    running = event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 3})

    assert reading(begun() + running, stream=True, complete=False).usage is None
    over = reading(begun() + running + event("message_stop"), stream=True)
    assert over.usage == Usage(input_tokens=10, output_tokens=3)


def test_what_the_end_tells_anew_replaces_what_the_beginning_said() -> None:
    read = reading(begun(cache_read_input_tokens=4) + ended(input_tokens=20, cache_read_input_tokens=None), stream=True)

    assert read.usage == Usage(input_tokens=24, cache_read_tokens=4, output_tokens=5)


def test_a_cache_that_does_not_say_how_long_it_keeps_what_was_written_says_so() -> None:
    split = {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}

    grown = reading(begun(cache_creation=split) + ended(cache_creation_input_tokens=9), stream=True)

    assert grown.unsplit_writes
    assert grown.usage == Usage(input_tokens=19, cache_write_tokens=9, output_tokens=5)
    known = reading(begun(cache_creation=split) + ended(), stream=True)
    assert not known.unsplit_writes
    assert known.usage == Usage(input_tokens=13, cache_write_tokens=3, cache_write_1h_tokens=2, output_tokens=5)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"input_tokens": 5},
        {"output_tokens": 5},
        {"input_tokens": -1, "output_tokens": 5},
        {"input_tokens": 1.5, "output_tokens": 5},
        {"input_tokens": "5", "output_tokens": 5},
        {"input_tokens": 10**30, "output_tokens": 5},
        {"input_tokens": 5, "output_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 1}},
        {"input_tokens": 5, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 6}},
    ],
)
@pytest.mark.parametrize("length", [0, 30_000])
def test_usage_that_makes_no_sense_is_no_usage(usage: object, length: int) -> None:
    body = json.dumps({"model": "claude", "content": "x" * length, "usage": usage}).encode()

    assert reading(body).usage is None


def test_usage_that_is_not_the_messages_own_is_none() -> None:
    inner = {"usage": {"input_tokens": 0, "output_tokens": 0}}

    assert reading(json.dumps({"content": "x" * 30_000, "last": [inner]}).encode()).usage is None


def test_a_compressed_answer_is_not_read() -> None:
    assert reading(capture("anthropic_messages", "plain.json"), encoding="gzip") == Reading()
    assert reading(capture("anthropic_messages", "plain.json"), encoding="identity").usage == EXPECTED["plain.json"]


def test_what_is_no_message_at_all_says_nothing() -> None:
    assert reading(b"<html>") == Reading()
    assert reading(b'{"model":5}') == Reading()
    assert reading(b"", stream=True, complete=False) == Reading(sent_bound_tokens=SLACK_TOKENS)
