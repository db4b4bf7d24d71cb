"""What InvokeModel says of its usage for Anthropic's models, in headers, body and stream, and cut at every byte."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import CORPUS, capture, tapped
from tests.llm.protocols.frames import CONTENT_TYPE, chunk, frame

PROTOCOL = "bedrock_invoke"
EXPECTED = {
    "plain.json": Usage(input_tokens=2095, output_tokens=503),
    "cached.json": Usage(
        input_tokens=2471, cache_read_tokens=1800, cache_write_tokens=650, cache_write_1h_tokens=250, output_tokens=393
    ),
    "thinking.json": Usage(input_tokens=51, output_tokens=212, reasoning_tokens=190),
    "hostile-tool-input.json": Usage(input_tokens=610, output_tokens=9120),
    "plain.eventstream": Usage(input_tokens=25, output_tokens=15),
    "cached.eventstream": Usage(
        input_tokens=9771, cache_read_tokens=9100, cache_write_tokens=650, cache_write_1h_tokens=250, output_tokens=64
    ),
    "tool-use.eventstream": Usage(input_tokens=472, output_tokens=89),
    "hostile.eventstream": Usage(input_tokens=33, output_tokens=120),
    "long.eventstream": Usage(input_tokens=38, cache_read_tokens=5, output_tokens=2712),
}
STREAMS = sorted(name for name in EXPECTED if name.endswith(".eventstream"))


def reading(body: bytes, *, headers: dict[str, str] | None = None, stream: bool = False, **seen: Any) -> Reading:
    answer = tapped(body, content_type=CONTENT_TYPE if stream else "application/json", **seen)
    return wire_format(PROTOCOL).read_answer(msgspec.structs.replace(answer, headers=headers or {}))


def counted(inputs: object, outputs: object, read: object = 0, written: object = 0) -> dict[str, str]:
    """AWS's own count, in the headers of an answer."""
    counts = {"input": inputs, "output": outputs, "cache-read-input": read, "cache-write-input": written}
    return {f"x-amzn-bedrock-{name}-token-count": str(count) for name, count in counts.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    read = reading(capture(PROTOCOL, name), stream=name in STREAMS)

    assert read.usage == EXPECTED[name]
    assert not read.unsplit_writes
    assert read.response_model == "claude-sonnet-4-5-20250929"


def test_every_capture_has_its_expectation() -> None:
    assert {path.name for path in (CORPUS / PROTOCOL).iterdir()} == {*EXPECTED, "error-mid-stream.eventstream"}


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(STREAMS)))
def test_an_answer_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = capture(PROTOCOL, name)

    for end in [*range(min(1000, len(body))), *range(max(0, len(body) - 1000), len(body))]:
        assert reading(body[:end], complete=False).usage is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_declared_less(name: str) -> None:
    """Its input is known from the first message on; its output is the provider's own or no less than what was sent."""
    body, expected = capture(PROTOCOL, name), EXPECTED[name]
    told_at = int.from_bytes(body[:4], "big")
    # The last message holds AWS's own count, the one before it the message's.
    starts = [0]
    while starts[-1] < len(body):
        starts.append(starts[-1] + int.from_bytes(body[starts[-1] : starts[-1] + 4], "big"))
    over_at = starts[-2]

    for end in [*range(0, len(body), 1 if len(body) < 20_000 else 1997), over_at - 1, over_at]:
        read = reading(body[:end], stream=True, complete=False)
        if end >= over_at:
            assert read.usage == expected
            continue
        assert read.usage is None
        assert (read.input_usage is not None) == (end >= told_at)
        if read.input_usage is not None:
            assert msgspec.structs.replace(expected, output_tokens=0) == read.input_usage


def test_an_error_in_the_middle_of_a_stream_leaves_what_was_sent_before_it() -> None:
    whole = capture(PROTOCOL, "error-mid-stream.eventstream")
    before = whole[: whole.index(b":exception-type") - 13]

    assert reading(before, stream=True).sent_bound_tokens == len("Half an answ") + SLACK_TOKENS
    assert reading(whole, stream=True) == Reading(
        input_usage=Usage(input_tokens=40), response_model="claude-sonnet-4-5-20250929"
    )


def test_headers_tell_usage_even_where_the_body_is_cut() -> None:
    body = capture(PROTOCOL, "hostile-tool-input.json")

    read = reading(body[:100], headers=counted(610, 9120), complete=False)

    assert (read.usage, read.unsplit_writes) == (Usage(input_tokens=610, output_tokens=9120), False)


def test_the_bodys_own_count_tells_more_where_it_agrees() -> None:
    read = reading(capture(PROTOCOL, "cached.json"), headers=counted(21, 393, 1800, 650))

    assert (read.usage, read.unsplit_writes) == (EXPECTED["cached.json"], False)


def test_awss_own_count_is_the_one_that_is_billed() -> None:
    read = reading(capture(PROTOCOL, "cached.json"), headers=counted(21, 394, 1800, 651))

    assert read.unsplit_writes
    assert read.usage == Usage(input_tokens=2472, cache_read_tokens=1800, cache_write_tokens=651, output_tokens=394)
    metrics = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 8}}
    assert reading(chunk("message_stop", **metrics), stream=True).usage == Usage(input_tokens=7, output_tokens=8)


@pytest.mark.parametrize("headers", [{}, counted("x", 1), counted(-1, 1), counted(1, 10**12), counted(1, "")])
def test_headers_that_make_no_sense_tell_nothing(headers: dict[str, str]) -> None:
    assert reading(b"{}", headers=headers).usage is None
    assert reading(capture(PROTOCOL, "plain.json"), headers=headers).usage == EXPECTED["plain.json"]


def test_the_tier_that_has_served_is_told_in_a_header() -> None:
    tiers = [
        reading(capture(PROTOCOL, "plain.json"), headers={"x-amzn-bedrock-service-tier": name}).service_tier
        for name in ("priority", "default", "warp")
    ]

    assert tiers == ["priority", "standard", None]


@pytest.mark.parametrize("hidden", [frame("chunk", bytes="***"), frame("chunk", p="abc"), frame("other", bytes="e30=")])
def test_a_stream_of_which_a_part_is_not_understood_has_no_bound(hidden: bytes) -> None:
    assert reading(hidden, stream=True, complete=False) == Reading()


def test_a_compressed_answer_is_not_read() -> None:
    assert reading(capture(PROTOCOL, "plain.json"), encoding="gzip") == Reading()
