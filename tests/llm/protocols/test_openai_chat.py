"""A chat request is read strictly: what cannot be metered is refused, what is sent on is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import (
    BursarError,
    InsufficientQuota,
    InvalidApiKey,
    InvalidRequest,
    PolicyUnavailable,
    RateLimitExceeded,
)
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.requests import Asked, ModelRequest, Target

CHAT = wire_format("openai_chat")
HELLO = [{"role": "user", "content": "Hello there"}]
HOUR = {"type": "ephemeral", "ttl": "1h"}


def read(**members: Any) -> ModelRequest:
    return CHAT.parse_request(parse_body(json.dumps({"model": "mini", "messages": HELLO} | members).encode()), Asked())


def changes(provider_model: str = "gpt-4o-mini", granted: int = 100, **members: Any) -> dict[str, object]:
    body = parse_body(json.dumps({"model": "mini", "messages": HELLO} | members).encode())
    request = CHAT.parse_request(body, Asked())
    return CHAT.upstream_changes(body, request, provider_model=provider_model, granted_max_tokens=granted)


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.choices) == ("mini", False, 1)
    assert request.requested_max_tokens is None
    assert request.prompt.texts == ("user", "Hello there")


def test_a_full_request_is_read() -> None:
    request = read(
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        n=3,
        max_tokens=200,
        max_completion_tokens=150,
        temperature=0.2,
        service_tier="auto",
        modalities=["text"],
        tools=[{"type": "function", "function": {"name": "look_up", "parameters": {}}}],
        response_format={"type": "json_object"},
    )

    assert (request.stream, request.wants_usage, request.choices, request.requested_max_tokens) == (True, True, 3, 150)
    assert request.prompt.schema_bytes > len('{"type":"json_object"}')


@pytest.mark.parametrize(
    ("asked", "tiers"),
    [
        ("auto", ("standard",)),
        ("default", ("standard",)),
        ("flex", ("flex", "standard")),
        ("priority", ("priority", "standard")),
        ("fast", ("priority", "standard")),
    ],
)
def test_a_tier_that_is_asked_for_is_held_at_the_dearest_that_may_serve(asked: str, tiers: tuple[str, ...]) -> None:
    assert read(service_tier=asked).service_tiers == tiers


def test_null_means_absent() -> None:
    members = [
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "tools",
        "service_tier",
        "modalities",
        "audio",
        "prediction",
    ]

    assert read(**dict.fromkeys(members)) == read()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 1.0, "10", True, False, [], 2**63])
def test_a_count_that_means_nothing_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{name: value})

    assert caught.value.param == name


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("service_tier", "scale"),
        ("service_tier", "ultrafast"),
        ("service_tier", 1),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {}),
        ("best_of", 5),
        ("api_base", "http://elsewhere"),
        ("fallbacks", ["gpt-4"]),
        ("MAX_TOKENS", 100_000),
        ("max_tokens ", 100_000),
        ("stream", "yes"),
        ("stream", 1),
        ("stream_options", []),
        ("stream_options", {"continuous_usage_stats": True}),
        ("stream_options", {"include_usage": "no"}),
        ("tools", {}),
        ("tools", ["search"]),
        ("tools", [{"type": "web_search_preview"}]),
        ("model", None),
        ("model", ""),
        ("model", 5),
        ("messages", None),
        ("messages", []),
        ("messages", {}),
        ("messages", ["hi"]),
        ("messages", [{"role": "assistant", "audio": {"id": "a"}}]),
        ("messages", [{"role": "user", "content": [{"type": "input_audio"}]}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}, {"type": "video_url"}]}]),
        (
            "messages",
            [{"role": "user", "content": [{"type": "file"}]}, {"role": "user", "content": [{"type": "audio"}]}],
        ),
        ("messages", [{"role": "user", "content": ["text"]}]),
        ("messages", [{"role": "user", "content": [{"type": {"text": "text"}}]}]),
        ("messages", [{"role": "user", "content": [{}]}]),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(member: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: value})

    assert caught.value.param is not None
    assert caught.value.param.startswith(member)


def test_images_and_files_make_the_prompt_unbounded_by_its_bytes() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]

    assert read(messages=[{"role": "user", "content": parts}]).prompt.has_media
    assert not read(messages=[{"role": "user", "content": parts[:1]}]).prompt.has_media


def test_every_text_of_every_message_counts() -> None:
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief"}], "name": "policy"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42", "is_error": False},
    ]

    prompt = read(messages=messages).prompt

    assert prompt.message_count == 3
    assert {"Be brief", "policy", "tool_calls", "arguments", "{}", "42", "False"} <= set(prompt.texts)


def test_the_provider_gets_its_own_model_name_and_the_granted_output() -> None:
    assert changes() == {"model": "gpt-4o-mini", "max_tokens": 100}
    assert changes(max_tokens=500) == {"model": "gpt-4o-mini", "max_tokens": 100}
    assert changes(max_tokens=100, model="gpt-4o-mini") == {}


def test_the_client_s_own_member_for_the_output_is_kept_where_the_model_obeys_it() -> None:
    assert changes(max_completion_tokens=500) == {"model": "gpt-4o-mini", "max_completion_tokens": 100}
    assert changes("o3", max_completion_tokens=500) == {"model": "o3", "max_completion_tokens": 100}
    assert changes("o3") == {"model": "o3", "max_completion_tokens": 100}


def test_a_model_that_may_not_know_the_newer_member_is_bounded_by_the_older_one_too() -> None:
    assert changes("llama-3", max_completion_tokens=500) == {
        "model": "llama-3",
        "max_completion_tokens": 100,
        "max_tokens": 100,
    }


def test_a_null_bound_is_written_over() -> None:
    assert changes(max_tokens=None) == {"model": "gpt-4o-mini", "max_tokens": 100}


def test_a_stream_always_ends_with_usage() -> None:
    assert changes(stream=True)["stream_options"] == {"include_usage": True}
    assert changes(stream=True, stream_options=None)["stream_options"] == {"include_usage": True}
    assert changes(stream=True, stream_options={"include_usage": False, "include_obfuscation": False})[
        "stream_options"
    ] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    assert "stream_options" not in changes(stream=True, stream_options={"include_usage": True})
    assert "stream_options" not in changes(stream=False)


@pytest.mark.parametrize("base_path", ["/v1", "/api/v1/", ""])
def test_the_path_lies_under_the_base_url_s_path(base_path: str) -> None:
    target = CHAT.upstream_target(base_path, read(), "gpt-4o")

    assert target == Target(path=f"{base_path.rstrip('/')}/chat/completions")


@pytest.mark.parametrize(
    ("error", "error_type", "code"),
    [
        (InvalidRequest("Bad.", param="n"), "invalid_request_error", "invalid_request"),
        (InvalidApiKey("No."), "invalid_request_error", "invalid_api_key"),
        (RateLimitExceeded("Slow."), "rate_limit_exceeded", "rate_limit_exceeded"),
        (InsufficientQuota("Empty."), "insufficient_quota", "insufficient_quota"),
        (PolicyUnavailable("Wait."), "server_error", "policy_unavailable"),
    ],
)
def test_an_error_is_told_as_openai_tells_it(error: BursarError, error_type: str, code: str) -> None:
    told = json.loads(CHAT.error_body(error))

    assert told == {"error": {"message": error.message, "type": error_type, "param": error.param, "code": code}}


def test_a_hostile_name_is_told_in_plain_ascii() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{"\ud800é" * 100: 1})

    assert CHAT.error_body(caught.value).isascii()


def test_a_wire_format_that_is_not_known_is_an_error_of_the_configuration() -> None:
    with pytest.raises(KeyError):
        wire_format("morse")


@pytest.mark.parametrize(
    "holding",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": HOUR}]}]},
        {"messages": [{"role": "user", "content": "Hi", "cache_control": HOUR}]},
        {"tools": [{"type": "function", "function": {"name": "look_up"}, "cache_control": HOUR}]},
    ],
)
def test_what_is_cached_for_an_hour_is_seen(holding: dict[str, Any]) -> None:
    assert read(**holding).writes_1h
    assert not read(**json.loads(json.dumps(holding).replace("1h", "5m"))).writes_1h

    with pytest.raises(InvalidRequest, match="ttl"):
        read(**json.loads(json.dumps(holding).replace("1h", "1d")))


@pytest.mark.parametrize(
    ("protocol", "members"),
    [
        ("openai_chat", {"messages": HELLO}),
        ("openai_responses", {"input": "Hello there"}),
        ("openai_completions", {"prompt": "Hello there"}),
    ],
)
def test_headers_choose_nothing_that_has_a_price(protocol: str, members: dict[str, Any]) -> None:
    data = json.dumps({"model": "mini"} | members).encode()

    for headers in (
        Asked(betas=("context-1m-2025-08-07",)),
        Asked(options={"x-amzn-bedrock-guardrailidentifier": "strict"}),
    ):
        with pytest.raises(InvalidRequest, match="not available through this gateway"):
            wire_format(protocol).parse_request(parse_body(data), headers)

    free = Asked(betas=("prompt-caching-2024-07-31",), options={"x-amzn-bedrock-trace": "ENABLED"})
    assert wire_format(protocol).parse_request(parse_body(data), free).model == "mini"
