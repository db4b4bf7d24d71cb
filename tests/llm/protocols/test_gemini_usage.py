"""What Gemini's answers say of their usage, in real shapes, whole, as events and as an array, and cut at every byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Answer, Reading
from kong_plugins.llm.usage import Usage

CORPUS = Path(__file__).parents[2] / "corpus" / "gemini"
HEAD_BYTES = 4096
TAIL_BYTES = 16384

WHOLE = {
    "plain.json": Usage(input_tokens=8, output_tokens=6),
    "thinking.json": Usage(input_tokens=31, output_tokens=1152, reasoning_tokens=1150),
    "vertex-thoughts-included.json": Usage(input_tokens=12, output_tokens=230, reasoning_tokens=225),
    "vertex-priority.json": Usage(input_tokens=12, output_tokens=2),
    "total-without-thoughts.json": Usage(input_tokens=12, output_tokens=100, reasoning_tokens=100),
    "out-of-tokens.json": Usage(input_tokens=120, output_tokens=964, reasoning_tokens=964),
    "cached.json": Usage(input_tokens=20_480, cache_read_tokens=20_224, output_tokens=7),
    "audio-and-image.json": Usage(
        input_tokens=2106,
        cache_read_tokens=1000,
        cache_read_audio_tokens=1000,
        input_audio_tokens=1840,
        input_image_tokens=258,
        output_tokens=4,
    ),
    "tool-use.json": Usage(input_tokens=180, output_tokens=225, reasoning_tokens=200),
    "blocked.json": Usage(input_tokens=9),
    "candidates.json": Usage(input_tokens=9, output_tokens=6),
    "function-call.json": Usage(input_tokens=60, output_tokens=81, reasoning_tokens=66),
    "hostile.json": Usage(input_tokens=70, output_tokens=9000),
}
# Each of the first five also as an array; of these, a client sees everything that is billed.
PLAIN_TEXT_STREAMS = {
    "plain": Usage(input_tokens=11, output_tokens=8),
    "vertex": Usage(input_tokens=11, output_tokens=3),
    "hostile": Usage(input_tokens=33, output_tokens=61),
    "long": Usage(input_tokens=38, output_tokens=212),
}
STREAMS = PLAIN_TEXT_STREAMS | {"thinking": Usage(input_tokens=31, output_tokens=817, reasoning_tokens=812)}
EVENTS = {f"{name}.sse": usage for name, usage in STREAMS.items()} | {
    "two-endings.sse": Usage(input_tokens=11, output_tokens=4),
    "blocked.sse": Usage(input_tokens=9),
}
ARRAYS = {f"{name}.array": usage for name, usage in STREAMS.items()}
EXPECTED = WHOLE | EVENTS | ARRAYS
BROKEN = {"error-mid-stream.sse", "error-mid-stream.array"}


def tapped(body: bytes, *, stream: bool = False, complete: bool = True, encoding: str = "") -> Answer:
    """The answer as the guard's tap keeps it."""
    return Answer(
        content_type="text/event-stream" if stream else "application/json; charset=UTF-8",
        content_encoding=encoding,
        head=body[:HEAD_BYTES],
        tail=body[-TAIL_BYTES:],
        size_bytes=len(body),
        event_count=body.count(b"\r\n\r\n") if stream else 0,
        complete=complete,
    )


def reading(body: bytes, **seen: Any) -> Reading:
    return wire_format("gemini").read_answer(tapped(body, **seen))


def capture(name: str) -> bytes:
    return (CORPUS / name).read_bytes()


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps(members).encode() + b"\r\n\r\n"


def said(text: str, *, usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    return {"candidates": [{"content": content, **more}]} | ({"usageMetadata": usage} if usage else {})


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    read = reading(capture(name), stream=name.endswith(".sse"))

    assert read.usage == EXPECTED[name]
    assert read.response_model is not None
    assert read.response_model.startswith("gemini-")


def test_every_capture_has_its_expectation() -> None:
    assert {path.name for path in CORPUS.iterdir()} == EXPECTED.keys() | BROKEN


def test_pictures_and_video_are_told_from_text_in_the_cache_and_in_the_answer_too() -> None:
    usage = {
        "promptTokenCount": 700,
        "cachedContentTokenCount": 300,
        "candidatesTokenCount": 500,
        "totalTokenCount": 1200,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 100},
            {"modality": "IMAGE", "tokenCount": 200},
            {"modality": "VIDEO", "tokenCount": 400},
        ],
        "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 200}, {"modality": "VIDEO", "tokenCount": 100}],
        "candidatesTokensDetails": [{"modality": "VIDEO", "tokenCount": 490}],
    }

    assert reading(json.dumps(said("", usage=usage)).encode()).usage == Usage(
        input_tokens=700,
        cache_read_tokens=300,
        input_image_tokens=200,
        cache_read_image_tokens=200,
        input_video_tokens=400,
        output_tokens=500,
        output_video_tokens=490,
    )


def test_the_tier_is_the_one_that_google_says_it_has_served() -> None:
    assert reading(capture("vertex-priority.json")).service_tier == "priority"
    assert reading(capture("vertex.sse"), stream=True).service_tier == "standard"
    assert reading(capture("plain.json")).service_tier is None
    told = {"promptTokenCount": 1, "totalTokenCount": 2, "serviceTier": "flex"}
    assert reading(json.dumps(said("a", usage=told)).encode()).service_tier == "flex"


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_an_answer_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = capture(name)
    over_at = len(body.rstrip())

    for end in [*range(min(3000, over_at)), *range(max(0, over_at - 3000), over_at)]:
        assert reading(body[:end], complete=False).usage is None


@pytest.mark.parametrize("name", sorted({**EVENTS, **ARRAYS}))
def test_a_stream_cut_anywhere_is_exact_or_declared_less(name: str) -> None:
    """Its input is known from the first count on; its output is the provider's own or unknown."""
    body, expected, is_events = capture(name), EXPECTED[name], name.endswith(".sse")

    for end in range(0, len(body), 1 if len(body) < 10_000 else 499):
        read = reading(body[:end], stream=is_events, complete=False)
        if read.usage is not None:
            assert read.usage == expected or name == "two-endings.sse"
            assert b'"finishReason"' in body[:end] or b'"promptFeedback"' in body[:end]
        elif read.input_usage is not None:
            assert read.input_usage == Usage(input_tokens=expected.input_tokens)
        assert read.sent_bound_tokens is None or is_events
    if is_events:
        assert reading(body, stream=True, complete=False).usage == expected


@pytest.mark.parametrize("name", sorted(PLAIN_TEXT_STREAMS))
def test_a_text_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text(name: str) -> None:
    body = capture(f"{name}.sse")
    for cut in (body[: len(body) // 3], body[: body.rindex(b"data: ")]):
        chunks = [json.loads(line[6:]) for line in cut.split(b"\r\n\r\n")[:-1]]
        texts = [part.get("text", "") for each in chunks for part in each["candidates"][0]["content"]["parts"]]

        bound = reading(cut, stream=True, complete=False).sent_bound_tokens

        assert bound is not None
        assert bound >= sum(len(text.encode()) for text in texts) + SLACK_TOKENS


def test_an_array_that_breaks_off_between_its_ends_is_known_by_its_input_alone() -> None:
    body = capture("long.array")

    for read in (reading(body[:25_000], complete=False), reading(body[:25_000] + b"<html>")):
        assert (read.usage, read.sent_bound_tokens) == (None, None)
        assert read.input_usage == Usage(input_tokens=38)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_an_error_in_the_middle_of_a_stream_leaves_what_was_sent_before_it(name: str) -> None:
    read = reading(capture(name), stream=name.endswith(".sse"))

    assert (read.usage, read.input_usage) == (None, Usage(input_tokens=40))


def test_thoughts_are_longer_than_what_is_shown_of_them() -> None:
    signed = {"candidates": [{"content": {"parts": [{"text": "a", "thoughtSignature": "Cv"}]}}]}

    assert reading(event(**signed), stream=True, complete=False).sent_bound_tokens is None
    thought = capture("thinking.sse").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert reading(thought, stream=True, complete=False).sent_bound_tokens is None
    begun = event(candidates=[{"index": 0}]) + event(**said("abc"))
    assert reading(begun, stream=True, complete=False).sent_bound_tokens == 3 + SLACK_TOKENS


def test_a_count_after_which_more_was_written_is_not_final() -> None:
    usage = {"promptTokenCount": 5, "totalTokenCount": 7}

    stale = event(**said("a", usage=usage)) + event(**said("b", finishReason="STOP"))
    assert reading(stale, stream=True).usage is None
    later = event(**said("a", finishReason="STOP")) + event(usageMetadata=usage)
    assert reading(later, stream=True).usage == Usage(input_tokens=5, output_tokens=2)


def test_a_count_that_lies_before_the_unseen_middle_is_not_final() -> None:
    body = capture("long.sse") + event(**said("x" * 20_000, finishReason="STOP"))

    assert reading(body, stream=True).usage is None


def test_what_cannot_be_read_hides_no_output() -> None:
    usage = {"promptTokenCount": 5, "totalTokenCount": 7}
    unreadable = event(**said("a", usage=usage)) + b"data: <html>\r\n\r\n"

    read = reading(unreadable, stream=True)
    assert (read.usage, read.input_usage) == (None, Usage(input_tokens=5))
    assert (read.sent_bound_tokens or 0) > len("<html>")
    assert reading(b'[{"candidates": 5}, {"usageMetadata": {"totalTokenCount": 1}}]').usage is None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"promptTokenCount": 5},
        {"promptTokenCount": -1, "totalTokenCount": 5},
        {"promptTokenCount": 1.5, "totalTokenCount": 5},
        {"promptTokenCount": "5", "totalTokenCount": 5},
        {"promptTokenCount": 1, "totalTokenCount": 10**30},
        {"promptTokenCount": 5, "cachedContentTokenCount": 6, "totalTokenCount": 7},
        {"promptTokenCount": 5, "totalTokenCount": 7, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}]},
    ],
)
@pytest.mark.parametrize("length", [0, 30_000])
def test_usage_that_makes_no_sense_is_no_usage(usage: object, length: int) -> None:
    body = json.dumps(said("x" * length) | {"usageMetadata": usage}).encode()

    assert reading(body).usage is None


def test_a_compressed_answer_is_not_read() -> None:
    assert reading(capture("plain.json"), encoding="gzip") == Reading()


def test_what_is_no_answer_at_all_says_nothing() -> None:
    assert reading(b"<html>") == Reading()
    assert reading(b"") == Reading()
    assert reading(b"[") == Reading()
    assert reading(b'{"modelVersion":5}') == Reading()
    assert reading(b"", stream=True, complete=False) == Reading(sent_bound_tokens=SLACK_TOKENS)
