"""Embeddings: what is read is bounded by what is sent, and booked as the provider tells it, wherever it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm import tokens
from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.protocols.answers import Reading
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import input_bound_tokens
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import EVENT_STREAM, capture, cuts_of, names_in, tapped, tapped_capture

PROTOCOL = "openai_embeddings"
EMBEDDINGS = wire_format(PROTOCOL)
READ_TOKENS = {
    "plain.json": 8,
    "long.json": 5,
    "many-base64.json": 61,
    "mistral.json": 15,
    "total-only.json": 10,
    "usage-first.json": 12,
    "hostile.json": 40,
}


def read(**members: Any) -> ModelRequest:
    body = json.dumps({"model": "small", "input": "Hello there"} | members).encode()
    return EMBEDDINGS.parse_request(parse_body(body), Asked())


def bound(value: object, *, context_window_tokens: int = 8192) -> int:
    return input_bound_tokens(
        read(input=value).prompt,
        provider_model="text-embedding-3-small",
        context_window_tokens=context_window_tokens,
    )


@pytest.mark.parametrize(
    ("value", "prompts", "texts", "encoded_tokens"),
    [
        ("Hello", 1, ("Hello",), 0),
        (["Hello", "there"], 2, ("Hello", "there"), 0),
        ([9906, 1070, 5], 1, (), 3),
        ([[9906], [1070, 5]], 2, (), 3),
        (["Hello", [9906, 1070]], 2, ("Hello",), 2),
    ],
)
def test_each_way_to_name_what_is_read_is_read(
    value: object, prompts: int, texts: tuple[str, ...], encoded_tokens: int
) -> None:
    request = read(input=value, dimensions=256, encoding_format="base64", user="alice")

    assert (request.prompt.prompts, request.prompt.texts) == (prompts, texts)
    assert request.prompt.encoded_tokens == encoded_tokens
    assert (request.has_output, request.stream, request.user) == (False, False, "alice")


def test_the_bound_is_the_sum_over_all_that_is_embedded() -> None:
    tokens.load_encodings()

    assert bound("Hello there") == 2 + 1
    assert bound(["Hello there"] * 100) == 100 * 3
    assert bound([[5] * 40, [6] * 60]) == 100 + 2
    assert bound(["word " * 9000] * 3) == 3 * 8192


@pytest.mark.parametrize("value", [None, "", 5, [], [[]], [5, "five"], [1.5], [True], [["nested"]], {"text": "Hello"}])
def test_what_is_no_input_is_refused(value: object) -> None:
    if value == "":
        assert read(input=value).prompt.texts == ("",)
        return
    with pytest.raises(InvalidRequest) as caught:
        read(input=value)

    assert caught.value.param == "input"


@pytest.mark.parametrize("member", ["max_tokens", "stream", "service_tier", "input_type"])
def test_what_is_not_known_to_leave_the_price_alone_is_refused(member: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: "x"})

    assert caught.value.param == member


def test_the_provider_gets_its_own_model_name_and_nothing_else_changes() -> None:
    body = parse_body(b'{"model":"small","input":"Hi"}')
    request = EMBEDDINGS.parse_request(body, Asked())

    def changes(model: str) -> dict[str, object]:
        return EMBEDDINGS.upstream_changes(body, request, provider_model=model, granted_max_tokens=0)

    assert changes("text-embedding-3-small") == {"model": "text-embedding-3-small"}
    assert changes("small") == {}
    assert EMBEDDINGS.upstream_target("/v1", request, "x") == Target(path="/v1/embeddings")
    assert protocol_of_path("/v1/embeddings") == PROTOCOL


@pytest.mark.parametrize("name", READ_TOKENS)
def test_every_capture_is_read_exactly_and_cut_anywhere_it_is_unknown(name: str) -> None:
    found = EMBEDDINGS.read_answer(tapped_capture(PROTOCOL, name))

    assert found.usage == Usage(input_tokens=READ_TOKENS[name])
    assert found.response_model
    for end in cuts_of(capture(PROTOCOL, name)):
        assert EMBEDDINGS.read_answer(tapped_capture(PROTOCOL, name, end=end)).usage is None


def test_every_capture_has_its_expectation() -> None:
    assert names_in(PROTOCOL) == READ_TOKENS.keys() | {"without.json"}
    assert EMBEDDINGS.read_answer(tapped_capture(PROTOCOL, "without.json")).usage is None


@pytest.mark.parametrize("value", [-1, "5", 1.5, 10**10, True, []])
@pytest.mark.parametrize("length", [0, 30_000])
def test_a_count_that_is_none_is_no_usage(value: object, length: int) -> None:
    last = json.dumps({"data": "x" * length, "usage": {"prompt_tokens": value}}).encode()
    first = json.dumps({"usage": {"prompt_tokens": value}, "data": "x" * length}).encode()

    assert EMBEDDINGS.read_answer(tapped(last)).usage is None
    assert EMBEDDINGS.read_answer(tapped(first)).usage is None


def test_a_compressed_answer_or_a_stream_is_not_read() -> None:
    body = capture(PROTOCOL, "plain.json")

    assert EMBEDDINGS.read_answer(tapped(body, encoding="gzip")) == Reading()
    assert EMBEDDINGS.read_answer(tapped(b"data: {}\n\n", content_type=EVENT_STREAM)).usage is None
