"""A request for Bedrock's InvokeModel is one for Anthropic's Messages, without its model, or it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import answer_headers, protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest, Target

INVOKE = wire_format("bedrock_invoke")
PATH = "/model/claude%3A1/invoke"
HELLO = [{"role": "user", "content": "Hello there"}]


def body_of(**members: Any) -> bytes:
    version = "bedrock-2023-05-31"
    return json.dumps({"anthropic_version": version, "max_tokens": 500, "messages": HELLO} | members).encode()


def read(path: str = PATH, options: dict[str, str] | None = None, **members: Any) -> ModelRequest:
    asked = Asked(path=path, options={f"x-amzn-bedrock-{name}": value for name, value in (options or {}).items()})
    return INVOKE.parse_request(parse_body(body_of(**members)), asked)


def test_a_request_is_that_of_the_messages() -> None:
    request = read(
        "/model/claude%3A1/invoke-with-response-stream",
        {"accept": "application/json", "trace": "ENABLED", "performanceconfig-latency": "standard"},
        anthropic_beta=["interleaved-thinking-2025-05-14"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        top_k=5,
    )

    assert (request.model, request.stream, request.requested_max_tokens) == ("claude:1", True, 500)
    assert (request.thinks, request.thinking_tokens, request.writes_1h) == (True, 1024, True)
    assert {"Be brief.", "Hello there"} <= set(request.prompt.texts)
    assert not read().stream


def test_a_call_goes_to_the_providers_own_name_of_the_model() -> None:
    streamed = read("/model/claude/invoke-with-response-stream")

    assert INVOKE.upstream_target("", read(), "eu.claude-v1:0") == Target(path="/model/eu.claude-v1%3A0/invoke")
    assert INVOKE.upstream_target("", streamed, "x") == Target(path="/model/x/invoke-with-response-stream")
    assert protocol_of_path(PATH) == protocol_of_path("/model/x/invoke-with-response-stream") == "bedrock_invoke"


def test_the_provider_is_told_how_much_was_granted() -> None:
    body = parse_body(body_of())

    changes = [
        INVOKE.upstream_changes(body, read(), provider_model="x", granted_max_tokens=tokens) for tokens in (500, 100)
    ]

    assert changes == [{}, {"max_tokens": 100}]


def test_a_service_tier_is_chosen_in_a_header() -> None:
    assert read().service_tiers == ("standard",)
    assert read(options={"service-tier": "priority"}).service_tiers == ("priority", "standard")


def test_usage_is_told_in_headers_of_the_answer() -> None:
    assert "x-amzn-bedrock-output-token-count" in answer_headers("bedrock_invoke")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"anthropic_version": None}, "anthropic_version"),
        ({"anthropic_version": "bedrock-2030-01-01"}, "anthropic_version"),
        ({"anthropic_beta": ["context-1m-2025-08-07"]}, "anthropic-beta"),
        ({"anthropic_beta": "x"}, "anthropic_beta"),
        ({"max_tokens": None}, "max_tokens"),
        ({"model": "claude"}, "model"),
        ({"stream": True}, "stream"),
        ({"service_tier": "auto"}, "service_tier"),
        ({"inputText": "Hello"}, "inputText"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)

    assert caught.value.param == param


def test_the_body_of_another_makers_model_is_sent_to_converse() -> None:
    body = parse_body(b'{"inputText":"Hello"}')

    with pytest.raises(InvalidRequest, match="Converse"):
        INVOKE.parse_request(body, Asked(path=PATH))


@pytest.mark.parametrize(
    ("option", "value"),
    [("service-tier", "reserved"), ("performanceconfig-latency", "optimized"), ("guardrailidentifier", "gr-1")],
)
def test_what_costs_more_is_not_chosen_in_a_header(option: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(options={option: value})

    assert caught.value.param == f"x-amzn-bedrock-{option}"
