"""A request for Bedrock's Converse is read strictly: what cannot be metered is refused, the rest is bounded."""

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
    ModelNotAllowed,
    ModelNotFound,
    PolicyUnavailable,
    RateLimitExceeded,
    RequestTooLarge,
)
from kong_plugins.llm.protocols import answer_headers, error_head, protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest, Target

CONVERSE = wire_format("bedrock_converse")
PATH = "/model/claude/converse"
HELLO = [{"role": "user", "content": [{"text": "Hello there"}]}]
CACHE = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
IMAGE = {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}
PAGES = {
    "document": {"format": "pdf", "name": "Manual", "source": {"bytes": "JVBERi0="}, "citations": {"enabled": True}}
}
TOOL = {"toolSpec": {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}}


def read(path: str = PATH, options: dict[str, str] | None = None, **members: Any) -> ModelRequest:
    body = parse_body(json.dumps({"messages": HELLO} | members).encode())
    return CONVERSE.parse_request(body, Asked(path=path, options=options or {}))


def said(*blocks: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(blocks)}]


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.choices, request.requested_max_tokens) == ("claude", False, 1, None)
    assert (request.thinks, request.thinking_tokens, request.writes_1h, request.user) == (None, 0, False, None)
    assert request.service_tiers == ("standard",)
    assert {"user", "Hello there"} <= set(request.prompt.texts)
    assert request.prompt.schema_bytes == 0


def test_a_full_request_is_read() -> None:
    request = read(
        "/model/claude/converse-stream",
        {"x-amzn-bedrock-trace": "ENABLED"},
        system=[{"text": "Be brief."}, CACHE],
        messages=[
            *said({"text": "What is the weather?"}, CACHE),
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "They ask …", "signature": "Eqo"}}},
                    {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"cachePoint": "mine"}}},
                    {"citationsContent": {"content": [{"text": "As it says"}], "citations": []}},
                ],
            },
            *said({"toolResult": {"toolUseId": "t1", "content": [{"text": "Rain"}, {"json": {"degrees": 9}}]}}),
        ],
        inferenceConfig={"maxTokens": 500, "temperature": 0.1, "topP": 1, "stopSequences": ["END"]},
        toolConfig={"tools": [TOOL, CACHE], "toolChoice": {"auto": {}}},
        outputConfig={"effort": "low"},
        additionalModelRequestFields={
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "anthropic_beta": ["interleaved-thinking-2025-05-14"],
            "top_k": 4,
        },
        additionalModelResponseFieldPaths=["/stop_sequence"],
        requestMetadata={"team": "search"},
        serviceTier={"type": "default"},
        performanceConfig={"latency": "standard"},
        guardrailConfig=None,
    )

    assert (request.stream, request.requested_max_tokens, request.wants_usage) == (True, 500, True)
    assert (request.thinks, request.thinking_tokens, request.writes_1h) == (True, 1024, False)
    assert {"Be brief.", "Rain", "get_weather", "They ask …", "As it says", "9"} <= set(request.prompt.texts)
    assert request.prompt.schema_bytes > len(json.dumps(TOOL)) - 4
    assert not request.prompt.has_media


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fabc/converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/abc",
        ),
    ],
)
def test_the_model_is_the_one_that_the_path_names(path: str, model: str) -> None:
    assert read(path).model == model
    assert protocol_of_path(path) == protocol_of_path(f"{path}-stream") == "bedrock_converse"


@pytest.mark.parametrize(
    "path", ["", "/model/a/b/converse", "/model//converse", "/model/a/converse/", "/v1/model/a/converse"]
)
def test_a_path_that_names_no_model_is_refused(path: str) -> None:
    assert protocol_of_path(path) is None
    with pytest.raises(InvalidRequest, match="URL-encoded"):
        read(path)


def test_a_call_goes_to_the_providers_own_name_of_the_model() -> None:
    arn = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.claude-v1:0"

    plain = CONVERSE.upstream_target("", read(), arn)
    streamed = CONVERSE.upstream_target("/proxy/", read(f"{PATH}-stream"), "amazon.nova-lite-v1:0")

    assert plain == Target(
        path="/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.claude-v1%3A0/converse"
    )
    assert streamed == Target(path="/proxy/model/amazon.nova-lite-v1%3A0/converse-stream")
    assert CONVERSE.credential_headers("bedrock-key") == {"authorization": "Bearer bedrock-key"}


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (None, {"inferenceConfig": {"maxTokens": 100}}),
        ({"temperature": 0.1}, {"inferenceConfig": {"temperature": 0.1, "maxTokens": 100}}),
        ({"maxTokens": 500, "topP": 1}, {"inferenceConfig": {"maxTokens": 100, "topP": 1}}),
        ({"maxTokens": 100}, {}),
    ],
)
def test_the_provider_is_told_how_much_was_granted(settings: object, changes: dict[str, object]) -> None:
    body = parse_body(json.dumps({"messages": HELLO, "inferenceConfig": settings}).encode())
    request = CONVERSE.parse_request(body, Asked(path=PATH))

    assert CONVERSE.upstream_changes(body, request, provider_model="x", granted_max_tokens=100) == changes


@pytest.mark.parametrize(
    "members",
    [
        {"system": [HOUR]},
        {"messages": said({"text": "x"}, HOUR, CACHE)},
        {"toolConfig": {"tools": [TOOL, HOUR]}},
        {"messages": said({"toolResult": {"toolUseId": "t", "content": []}}, HOUR)},
    ],
)
def test_what_is_cached_for_an_hour_is_noticed_wherever_it_stands(members: dict[str, Any]) -> None:
    assert read(**members).writes_1h


@pytest.mark.parametrize(
    "block",
    [
        IMAGE,
        PAGES,
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
        {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}},
        {"toolResult": {"toolUseId": "t1", "content": [IMAGE]}},
    ],
)
def test_what_is_no_text_is_not_bounded_by_its_bytes(block: object) -> None:
    request = read(messages=said({"text": "What is this?"}, block))

    assert request.prompt.has_media
    assert request.prompt.texts == ()


@pytest.mark.parametrize(
    ("fields", "thinks", "tokens"),
    [
        ({}, None, 0),
        ({"thinking": {"type": "adaptive"}}, True, 0),
        ({"thinking": {"type": "disabled"}}, False, 0),
        ({"reasoning_config": {"type": "enabled", "budget_tokens": 2048}}, True, 2048),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, True, 0),
        ({"reasoning_effort": "low"}, None, 0),
    ],
)
def test_thinking_is_understood_in_each_makers_words(fields: object, thinks: bool | None, tokens: int) -> None:
    request = read(additionalModelRequestFields=fields)

    assert (request.thinks, request.thinking_tokens) == (thinks, tokens)


@pytest.mark.parametrize(
    ("tier", "tiers"),
    [("default", ("standard",)), ("flex", ("flex", "standard")), ("priority", ("priority", "standard"))],
)
def test_a_service_tier_may_be_asked_for(tier: str, tiers: tuple[str, ...]) -> None:
    assert read(serviceTier={"type": tier}).service_tiers == tiers


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "text"}]}, "messages[0].content"),
        ({"messages": said("text")}, "messages[0].content[0]"),
        ({"messages": said({"audio": {"format": "mp3", "source": {"bytes": "AA"}}})}, "messages[0].content[0]"),
        ({"messages": said({"guardContent": {"text": {"text": "x"}}})}, "messages[0].content[0]"),
        (
            {"messages": said({"image": {"source": {"s3Location": {"uri": "s3://x/y"}}}})},
            "messages[0].content[0].image.source",
        ),
        ({"messages": said({"image": "x"})}, "messages[0].content[0].image.source"),
        ({"messages": said({"document": {"name": "x"}})}, "messages[0].content[0].document.source"),
        ({"messages": said({"toolResult": "x"})}, "messages[0].content[0].toolResult"),
        (
            {"messages": said({"toolResult": {"content": [{"toolUse": {}}]}})},
            "messages[0].content[0].toolResult.content[0]",
        ),
        ({"messages": said({"cachePoint": {"type": "other"}})}, "messages[0].content[0].cachePoint"),
        (
            {"messages": said(HOUR, {"cachePoint": {"type": "default", "ttl": "24h"}})},
            "messages[0].content[1].cachePoint",
        ),
        ({"system": [{"guardContent": {}}]}, "system[0]"),
        ({"inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": "9"}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"max_new_tokens": 9}}, "inferenceConfig"),
        ({"inferenceConfig": []}, "inferenceConfig"),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, "toolConfig.tools[0]"),
        ({"toolConfig": {"tools": "x"}}, "toolConfig.tools"),
        ({"guardrailConfig": {"guardrailIdentifier": "gr-1"}}, "guardrailConfig"),
        ({"promptVariables": {"x": {"text": "y"}}}, "promptVariables"),
        ({"performanceConfig": {"latency": "optimized"}}, "performanceConfig.latency"),
        ({"serviceTier": {"type": "reserved"}}, "serviceTier.type"),
        ({"additionalModelRequestFields": {"max_tokens": 10**6}}, "additionalModelRequestFields"),
        (
            {"additionalModelRequestFields": {"inferenceConfig": {"maxTokens": 9}}},
            "additionalModelRequestFields.inferenceConfig",
        ),
        ({"additionalModelRequestFields": {"thinking": {"type": "deep"}}}, "additionalModelRequestFields.thinking"),
        ({"additionalModelRequestFields": {"anthropic_beta": ["context-1m-2025-08-07"]}}, "anthropic-beta"),
        ({"model": "claude"}, "model"),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)

    assert caught.value.param == param


@pytest.mark.parametrize("option", ["guardrailidentifier", "service-tier", "performanceconfig-latency", "novelty"])
def test_what_may_cost_more_is_not_chosen_in_a_header(option: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(options={f"x-amzn-bedrock-{option}": "standard"})

    assert caught.value.param == f"x-amzn-bedrock-{option}"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("Send text.", param="messages"), 400, "ValidationException"),
        (InvalidApiKey("No."), 401, "AccessDeniedException"),
        (ModelNotAllowed("No."), 403, "AccessDeniedException"),
        (ModelNotFound("No."), 404, "ResourceNotFoundException"),
        (RequestTooLarge("No."), 413, "ValidationException"),
        (RateLimitExceeded("Later.", retry_after_ms=1500), 429, "ThrottlingException"),
        # Any 429 is tried again by AWS's SDKs.
        (InsufficientQuota("Spent."), 400, "ServiceQuotaExceededException"),
        (PolicyUnavailable("Later."), 503, "ServiceUnavailableException"),
        (BursarError("Broken."), 500, "InternalServerException"),
    ],
)
def test_errors_are_in_the_words_of_aws(error: BursarError, status: int, kind: str) -> None:
    told_status, headers = error_head("bedrock_converse", error)

    assert (told_status, headers["x-amzn-errortype"]) == (status, kind)
    assert headers.get("x-amz-retry-after") == (None if error.retry_after_ms is None else str(error.retry_after_ms))
    assert json.loads(CONVERSE.error_body(error)) == {
        "message": error.message,
        "code": error.code,
        "param": error.param,
    }


def test_no_other_format_speaks_as_aws_does() -> None:
    assert "x-amzn-errortype" not in error_head("openai_chat", InvalidRequest("No."))[1]
    assert answer_headers("openai_chat") == answer_headers("bedrock_converse") == ()


def test_limits_have_no_headers_at_aws() -> None:
    assert CONVERSE.limit_headers("requests", amount=1, remaining=0, reset_ms=1, now_ms=0) == {}
