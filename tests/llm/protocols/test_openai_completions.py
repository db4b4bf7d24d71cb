"""Legacy completions: every answer that is written to every prompt is held, and booked as the provider tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import capture, cuts_of, names_in, tapped, tapped_capture

PROTOCOL = "openai_completions"
COMPLETIONS = wire_format(PROTOCOL)
EXPECTED = {
    "plain.json": Usage(input_tokens=5, output_tokens=7),
    "best-of.json": Usage(input_tokens=5, output_tokens=96),
    "long.json": Usage(input_tokens=5, output_tokens=6000),
    "hostile.json": Usage(input_tokens=9, output_tokens=60),
    "hostile-long.json": Usage(input_tokens=9, output_tokens=5060),
    "two-usages.json": Usage(input_tokens=30, output_tokens=40),
    "vllm.json": Usage(input_tokens=4, output_tokens=3),
    "usage-first.json": Usage(input_tokens=4, output_tokens=5000),
    "plain.sse": Usage(input_tokens=5, output_tokens=4),
    "choices.sse": Usage(input_tokens=5, output_tokens=9),
    "hostile.sse": Usage(input_tokens=7, output_tokens=50),
    "long.sse": Usage(input_tokens=3, output_tokens=900),
}


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "instruct", "prompt": "Once upon"} | members).encode()


def read(**members: Any) -> ModelRequest:
    return COMPLETIONS.parse_request(parse_body(body_of(**members)), Asked())


@pytest.mark.parametrize(
    ("members", "choices", "max_tokens"),
    [
        ({}, 1, 16),
        ({"max_tokens": 50}, 1, 50),
        ({"n": 3}, 3, 16),
        ({"best_of": 5}, 5, 16),
        ({"n": 2, "best_of": 5}, 5, 16),
        ({"prompt": ["Once", "upon", "a time"], "n": 2, "best_of": 4}, 12, 16),
        ({"prompt": [[1, 2, 3], [4]]}, 2, 16),
        ({"prompt": None, "n": None, "best_of": None}, 1, 16),
    ],
)
def test_every_answer_to_every_prompt_is_counted(members: dict[str, Any], choices: int, max_tokens: int) -> None:
    request = read(**members)

    assert (request.choices, request.requested_max_tokens) == (choices, max_tokens)


def test_what_stands_behind_the_gap_is_read_with_each_prompt() -> None:
    assert read(prompt=["Once", "Twice"], suffix="the end").prompt.texts == ("Once", "Twice", "the end", "the end")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("n", 0),
        ("best_of", 129),
        ("max_tokens", 0),
        ("prompt", [5, "five"]),
        ("suffix", 5),
        ("echo", "yes"),
        ("stream_options", {"continuous_usage_stats": True}),
        ("service_tier", "flex"),
        ("prompt_logprobs", 5),
        ("messages", []),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(member: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: value})

    assert caught.value.param == member


def test_the_provider_is_told_how_much_and_to_tell_the_usage() -> None:
    body = parse_body(body_of(stream=True))
    request = COMPLETIONS.parse_request(body, Asked())

    assert COMPLETIONS.upstream_changes(body, request, provider_model="babbage-002", granted_max_tokens=9) == {
        "model": "babbage-002",
        "max_tokens": 9,
        "stream_options": {"include_usage": True},
    }
    assert (request.stream, request.wants_usage) == (True, False)
    assert COMPLETIONS.upstream_target("/v1", request, "x") == Target(path="/v1/completions")
    assert protocol_of_path("/v1/completions") == PROTOCOL


def test_a_plain_request_asks_for_no_stream_options() -> None:
    body = parse_body(body_of(max_tokens=9))
    request = COMPLETIONS.parse_request(body, Asked())

    assert COMPLETIONS.upstream_changes(body, request, provider_model="instruct", granted_max_tokens=9) == {}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly_and_cut_anywhere_it_is_exact_or_declared_less(name: str) -> None:
    body = capture(PROTOCOL, name)
    told_at = body.index(b"\n\n", body.rindex(b'"choices":[],')) + 2 if name.endswith(".sse") else len(body)

    assert COMPLETIONS.read_answer(tapped_capture(PROTOCOL, name)).usage == EXPECTED[name]
    for end in cuts_of(body):
        found = COMPLETIONS.read_answer(tapped_capture(PROTOCOL, name, end=end))
        assert found.usage == (EXPECTED[name] if end >= told_at else None)


def test_every_capture_has_its_expectation() -> None:
    assert names_in(PROTOCOL) == EXPECTED.keys()


def test_a_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text() -> None:
    end = capture(PROTOCOL, "plain.sse").index(b'"stop"')

    found = COMPLETIONS.read_answer(tapped_capture(PROTOCOL, "plain.sse", end=end))

    assert found.sent_bound_tokens is not None
    assert found.sent_bound_tokens >= len("This is a test") + SLACK_TOKENS


def test_a_compressed_answer_is_not_read() -> None:
    assert COMPLETIONS.read_answer(tapped(capture(PROTOCOL, "plain.json"), encoding="gzip")) == Reading()
