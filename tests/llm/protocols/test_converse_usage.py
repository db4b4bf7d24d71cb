"""What Bedrock's Converse says of its usage, in real shapes, whole and streamed, and cut at every byte."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.protocols.eventstream import messages_at_both_ends
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import CORPUS, capture, tapped
from tests.llm.protocols.frames import CONTENT_TYPE, frame, metadata, text

PROTOCOL = "bedrock_converse"
EXPECTED = {
    "plain.json": Usage(input_tokens=30, output_tokens=628),
    "pretty.json": Usage(input_tokens=9, output_tokens=3),
    "cached.json": Usage(
        input_tokens=2454,
        cache_read_tokens=1800,
        cache_write_tokens=650,
        cache_write_1h_tokens=250,
        output_tokens=388,
    ),
    "cached-unsplit.json": Usage(input_tokens=312, cache_write_tokens=300, output_tokens=9),
    "tool-use.json": Usage(input_tokens=472, output_tokens=89),
    "reasoning.json": Usage(input_tokens=51, output_tokens=212),
    "hostile-tool-input.json": Usage(input_tokens=610, output_tokens=9120),
    "usage-first.json": Usage(input_tokens=44, output_tokens=5000),
    "priority-router.json": Usage(input_tokens=20, output_tokens=4),
    "plain.eventstream": Usage(input_tokens=25, output_tokens=15),
    "cached.eventstream": Usage(
        input_tokens=9771,
        cache_read_tokens=9100,
        cache_write_tokens=650,
        cache_write_1h_tokens=250,
        output_tokens=64,
    ),
    "tool-use.eventstream": Usage(input_tokens=472, output_tokens=89),
    "reasoning.eventstream": Usage(input_tokens=70, output_tokens=310),
    "hostile.eventstream": Usage(input_tokens=33, output_tokens=120),
    "guardrail-stop.eventstream": Usage(input_tokens=564, output_tokens=4),
    "stop-sequence.eventstream": Usage(input_tokens=20, output_tokens=8),
    "long.eventstream": Usage(input_tokens=38, cache_read_tokens=5, output_tokens=2712),
    "long-trace.eventstream": Usage(input_tokens=410, output_tokens=3),
}
STREAMS = sorted(name for name in EXPECTED if name.endswith(".eventstream"))
# Those of which a client sees everything that is billed.
TEXT_STREAMS = {
    "plain.eventstream": "Your parcel is on its way. 📦",
    "cached.eventstream": "As the manual says",
    "guardrail-stop.eventstream": "I cannot help with that.",
    "stop-sequence.eventstream": "Alpha",
}


def reading(body: bytes, *, stream: bool = False, **seen: Any) -> Reading:
    content_type = CONTENT_TYPE if stream else "application/json"
    return wire_format(PROTOCOL).read_answer(tapped(body, content_type=content_type, **seen))


def begin_of(body: bytes, event_type: bytes) -> int:
    """Where the first message of this type begins: what stands before its name always has the same length."""
    return body.index(event_type) - 27


def texts_of(body: bytes) -> list[tuple[int, bytes]]:
    """Each text of a stream, with the offset at which its message is whole."""
    head, _ = messages_at_both_ends(tapped(body, content_type=CONTENT_TYPE))
    ends = accumulate(message.size_bytes for message in head)
    payloads = (json.loads(message.payload) for message in head)
    return [(end, each["delta"]["text"].encode()) for end, each in zip(ends, payloads, strict=True) if "delta" in each]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    read = reading(capture(PROTOCOL, name), stream=name in STREAMS)

    assert read.usage == EXPECTED[name]
    assert read.unsplit_writes == (name == "cached-unsplit.json")


def test_every_capture_has_its_expectation() -> None:
    assert {path.name for path in (CORPUS / PROTOCOL).iterdir()} == {*EXPECTED, "error-mid-stream.eventstream"}


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(STREAMS)))
def test_an_answer_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = capture(PROTOCOL, name)

    for end in [*range(min(1000, len(body))), *range(max(0, len(body) - 1000), len(body))]:
        assert reading(body[:end], complete=False).usage is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_bounded_by_what_was_sent(name: str) -> None:
    body = capture(PROTOCOL, name)
    texts = texts_of(body) if name in TEXT_STREAMS else []

    for end in range(0, len(body), 1 if len(body) < 20_000 else 997):
        read = reading(body[:end], stream=True, complete=False)
        assert (read.usage, read.input_usage) == (None, None)
        if name in TEXT_STREAMS:
            assert read.sent_bound_tokens is not None
            sent_tokens = sum(len(data) for whole, data in texts if whole <= end)
            assert sent_tokens <= read.sent_bound_tokens <= end + SLACK_TOKENS


@pytest.mark.parametrize("name", TEXT_STREAMS)
def test_a_text_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text(name: str) -> None:
    body, sent = capture(PROTOCOL, name), TEXT_STREAMS[name].encode()

    assert (
        reading(body[: begin_of(body, b"contentBlockStop")], stream=True, complete=False).sent_bound_tokens
        == len(sent) + SLACK_TOKENS
    )


def test_a_long_text_stream_that_breaks_off_is_bounded_too() -> None:
    body = capture(PROTOCOL, "long.eventstream")
    read = reading(body[: begin_of(body, b"contentBlockStop")], stream=True, complete=False)

    assert read.sent_bound_tokens is not None
    assert sum(len(f" word {number}") for number in range(900)) <= read.sent_bound_tokens < len(body)


def test_an_error_in_the_middle_of_a_stream_leaves_what_was_sent_before_it() -> None:
    read = reading(capture(PROTOCOL, "error-mid-stream.eventstream"), stream=True)

    assert (read.usage, read.sent_bound_tokens) == (None, len("Half an answ") + SLACK_TOKENS)


@pytest.mark.parametrize("name", ["reasoning.eventstream", "tool-use.eventstream"])
def test_output_that_the_client_sees_only_part_of_has_no_bound(name: str) -> None:
    body = capture(PROTOCOL, name)
    told_at = begin_of(body, b"metadata")

    assert reading(body[:told_at], stream=True, complete=False) == Reading()


@pytest.mark.parametrize(
    "hidden",
    [
        frame("contentBlockStart", contentBlockIndex=1, start={"toolUse": {"name": "f", "toolUseId": "t"}}),
        text("b", 2),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"citation": {"title": "Manual"}}),
        frame("contentBlockDelta", contentBlockIndex="0", delta={"text": "b"}),
        frame("contentBlockStop", contentBlockIndex=1),
    ],
    ids=["tool", "gap", "citation", "unreadable", "block-not-seen"],
)
def test_a_stream_of_which_a_part_is_not_understood_has_no_bound(hidden: bytes) -> None:
    assert reading(text("a") + hidden, stream=True, complete=False) == Reading()


def test_a_block_that_may_have_begun_between_the_ends_has_no_bound() -> None:
    beginning, middle = text("a" * 3000), text("x" * 30_000, 1)
    quiet = frame("messageStop", stopReason="end_turn") * 130

    assert reading(beginning + middle + quiet, stream=True, complete=False).sent_bound_tokens is None
    assert reading(beginning + text("x" * 30_000), stream=True, complete=False).sent_bound_tokens is None
    assert reading(beginning + text("y" * 9000) * 4 + text("b"), stream=True, complete=False).sent_bound_tokens


def test_the_tier_and_the_model_that_a_router_chose_are_told() -> None:
    read = reading(capture(PROTOCOL, "priority-router.json"))

    assert read.service_tier == "priority"
    assert read.response_model is not None
    assert read.response_model.endswith("us.anthropic.claude-3-haiku-20240307-v1:0")
    assert reading(capture(PROTOCOL, "stop-sequence.eventstream"), stream=True).service_tier == "standard"
    assert reading(capture(PROTOCOL, "plain.json")).service_tier is None
    assert reading(json.dumps({"serviceTier": {"type": "warp"}}).encode()).service_tier is None


def test_half_a_character_from_a_model_does_not_hide_the_usage() -> None:
    body = text("\ud83d") + metadata(inputTokens=3, outputTokens=4)

    assert reading(body, stream=True).usage == Usage(input_tokens=3, output_tokens=4)
    assert reading(text("\ud83d"), stream=True, complete=False).sent_bound_tokens is not None


def test_details_without_their_sum_are_the_sum() -> None:
    details = [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 6}]

    read = reading(metadata(inputTokens=1, outputTokens=2, cacheDetails=details), stream=True)

    assert read.usage == Usage(input_tokens=11, cache_write_tokens=10, cache_write_1h_tokens=4, output_tokens=2)
    grown = reading(
        metadata(inputTokens=1, outputTokens=2, cacheDetails=details, cacheWriteInputTokens=11), stream=True
    )
    assert grown.unsplit_writes
    assert grown.usage == Usage(input_tokens=12, cache_write_tokens=11, output_tokens=2)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"inputTokens": 5},
        {"outputTokens": 5},
        {"inputTokens": -1, "outputTokens": 5},
        {"inputTokens": 1.5, "outputTokens": 5},
        {"inputTokens": "5", "outputTokens": 5},
        {"inputTokens": 10**30, "outputTokens": 5},
        {"inputTokens": 5, "outputTokens": 5, "cacheDetails": [{"ttl": "5m"}]},
    ],
)
@pytest.mark.parametrize("length", [0, 30_000])
def test_usage_that_makes_no_sense_is_no_usage(usage: object, length: int) -> None:
    document = {"output": {"message": {"content": [{"text": "x" * length}]}}, "usage": usage}

    assert reading(json.dumps(document).encode()).usage is None
    assert reading(json.dumps(dict(reversed(document.items()))).encode()).usage is None
    assert reading(frame("metadata", usage=usage, x="x" * length), stream=True).usage is None


def test_a_compressed_answer_is_not_read() -> None:
    assert reading(capture(PROTOCOL, "plain.json"), encoding="gzip") == Reading()


def test_what_is_no_answer_at_all_says_nothing() -> None:
    assert reading(b"<html>") == Reading()
    assert reading(b"", stream=True, complete=False) == Reading(sent_bound_tokens=SLACK_TOKENS)
