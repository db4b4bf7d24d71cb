"""A request for Anthropic's Messages is read strictly: what cannot be metered is refused, the rest is bounded."""

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
    UnsupportedEncoding,
)
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest, Target

MESSAGES = wire_format("anthropic_messages")
HELLO = [{"role": "user", "content": "Hello there"}]
HOUR = {"type": "ephemeral", "ttl": "1h"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PAGES = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
TOOL = {"name": "get_weather", "description": "The weather", "input_schema": {"type": "object"}}


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "claude", "max_tokens": 500, "messages": HELLO} | members).encode()


def read(*, betas: tuple[str, ...] = (), **members: Any) -> ModelRequest:
    return MESSAGES.parse_request(parse_body(body_of(**members)), Asked(betas=betas))


def said(*blocks: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(blocks)}]


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.choices, request.requested_max_tokens) == ("claude", False, 1, 500)
    assert (request.thinks, request.thinking_tokens, request.writes_1h, request.user) == (None, 0, False, None)
    assert {"user", "Hello there"} <= set(request.prompt.texts)
    assert request.prompt.schema_bytes == 0


def test_a_full_request_is_read() -> None:
    request = read(
        stream=True,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "What is the weather?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "They ask for …", "signature": "Eqo"},
                    {"type": "redacted_thinking", "data": "EmwK"},
                    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"cache_control": "mine"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Rain"}]}
                ],
            },
        ],
        tools=[TOOL, TOOL | {"type": "custom"}],
        tool_choice={"type": "auto"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "alice"},
        output_config={"effort": "low"},
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        service_tier="auto",
        speed="standard",
        stop_sequences=["END"],
        temperature=1.0,
        top_k=5,
        top_p=0.9,
    )

    assert (request.stream, request.thinks, request.thinking_tokens, request.user) == (True, True, 1024, "alice")
    assert {"Be brief.", "What is the weather?", "They ask for …", "EmwK", "Rain", "mine"} <= set(request.prompt.texts)
    assert request.prompt.message_count == 4
    assert request.prompt.schema_bytes >= len(json.dumps([TOOL, TOOL]))
    assert not request.writes_1h


def test_null_means_absent() -> None:
    members = [
        *("system", "stream", "metadata", "tools", "tool_choice", "thinking", "service_tier", "speed", "inference_geo"),
        *("cache_control", "context_management", "output_config", "stop_sequences"),
    ]

    absent: dict[str, Any] = dict.fromkeys(members)
    assert read(**absent).prompt.schema_bytes == 0
    assert read(thinking={"type": "disabled"}).thinks is False
    assert read(metadata={"user_id": None}, context_management={}).user is None


@pytest.mark.parametrize("value", [None, 0, -1, 1.5, 1.0, "10", True, [], 2**63])
def test_a_maximum_of_tokens_is_required(value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(max_tokens=value)

    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize(
    ("member", "value", "param"),
    [
        ("model", None, "model"),
        ("model", "", "model"),
        ("messages", None, "messages"),
        ("messages", [], "messages"),
        ("messages", ["hi"], "messages[0]"),
        ("messages", [{"role": "user", "content": 5}], "messages[0].content"),
        ("messages", said("hi"), "messages[0].content[0]"),
        ("messages", said({"text": "hi"}), "messages[0].content[0]"),
        ("messages", said({"type": ["text"]}), "messages[0].content[0]"),
        ("messages", said({"type": "web_search_tool_result"}), "messages[0].content[0]"),
        ("messages", said({"type": "container_upload", "file_id": "f"}), "messages[0].content[0]"),
        ("messages", said({"type": "image"}), "messages[0].content[0].source"),
        (
            "messages",
            said({"type": "document", "source": {"type": "file", "file_id": "of another team"}}),
            "messages[0].content[0].source",
        ),
        (
            "messages",
            said({"type": "tool_result", "content": [{"type": "tool_result", "content": []}]}),
            "messages[0].content[0].content[0]",
        ),
        ("system", 5, "system"),
        ("system", [IMAGE], "system[0]"),
        ("system", [{"type": "text", "cache_control": {"type": "forever"}}], "system[0].cache_control"),
        ("system", [{"type": "text", "cache_control": "1h"}], "system[0].cache_control"),
        ("cache_control", {"type": "ephemeral", "ttl": "24h"}, "cache_control"),
        ("cache_control", {"type": "ephemeral", "ttl": ["1h"]}, "cache_control"),
        ("tools", {}, "tools"),
        ("tools", ["search"], "tools[0]"),
        ("tools", [TOOL, {"type": "web_search_20250305", "name": "web_search"}], "tools[1]"),
        ("tools", [{"type": "code_execution_20250825", "name": "code_execution"}], "tools[0]"),
        ("tools", [{"type": "mcp_toolset"}], "tools[0]"),
        ("tools", [{"type": 5}], "tools[0]"),
        ("tools", [TOOL | {"cache_control": {"type": "ephemeral", "ttl": "2h"}}], "tools[0].cache_control"),
        ("mcp_servers", [], "mcp_servers"),
        ("container", "c", "container"),
        ("thinking", "yes", "thinking"),
        ("thinking", {"type": "endless"}, "thinking"),
        ("thinking", {"type": ["enabled"]}, "thinking"),
        ("thinking", {"type": "enabled", "budget_tokens": -1}, "thinking.budget_tokens"),
        ("thinking", {"type": "enabled", "budget_tokens": 1e9}, "thinking.budget_tokens"),
        ("metadata", "alice", "metadata"),
        ("metadata", {"user_id": 5}, "metadata"),
        ("output_config", {"passes": 5}, "output_config"),
        ("output_config", [], "output_config"),
        ("context_management", {"edits": [{"type": "compact_20260112"}]}, "context_management"),
        ("context_management", {"edits": ["clear_"]}, "context_management"),
        ("context_management", {"edits": "clear_"}, "context_management"),
        ("context_management", {"summaries": 1}, "context_management"),
        ("stream", "yes", "stream"),
        ("service_tier", "priority", "service_tier"),
        ("speed", "fast", "speed"),
        ("inference_geo", "us", "inference_geo"),
        ("inference_geo", "global", "inference_geo"),
        ("anthropic_version", "bedrock-2023-05-31", "anthropic_version"),
        ("max_completion_tokens", 5, "max_completion_tokens"),
        ("MAX_TOKENS", 5, "MAX_TOKENS"),
    ],
)
def test_what_cannot_be_metered_is_refused(member: str, value: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: value})

    assert caught.value.param == param


@pytest.mark.parametrize(
    "beta",
    ["context-1m-2025-08-07", "fast-mode-2026-02-01", "code-execution-2025-05-22", "anything-new-2027-01-01", "x"],
)
def test_a_beta_that_may_have_a_price_of_its_own_is_refused(beta: str) -> None:
    with pytest.raises(InvalidRequest, match=beta) as caught:
        read(betas=("prompt-caching-2024-07-31", beta))

    assert caught.value.param == "anthropic-beta"


def test_a_beta_that_leaves_the_price_alone_passes() -> None:
    betas = (
        *("interleaved-thinking-2025-05-14", "extended-cache-ttl-2025-04-11", "claude-code-20250219"),
        *("prompt-caching-scope-2026-01-05", "output-128k-2025-02-19"),
    )

    assert read(betas=betas) == read()


@pytest.mark.parametrize(
    "members",
    [
        {"cache_control": HOUR},
        {"system": [{"type": "text", "text": "s", "cache_control": HOUR}]},
        {"tools": [TOOL, TOOL | {"cache_control": HOUR}]},
        {"messages": said({"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": HOUR})},
        {
            "messages": said(
                {"type": "tool_result", "content": [{"type": "text", "text": "b", "cache_control": HOUR}]},
            )
        },
        {
            "messages": said(
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "text", "text": "b", "cache_control": HOUR}]},
                }
            )
        },
        {"messages": said({"type": "search_result", "content": [{"type": "text", "cache_control": HOUR}]})},
    ],
    ids=["request", "system", "tool", "block", "tool-result", "document", "search-result"],
)
def test_a_prompt_that_is_kept_for_an_hour_is_known_wherever_it_says_so(members: dict[str, Any]) -> None:
    assert read(**members).writes_1h
    assert not read(**json.loads(json.dumps(members).replace("1h", "5m"))).writes_1h


@pytest.mark.parametrize(
    "content",
    [
        said(IMAGE),
        said(PAGES),
        said({"type": "search_result", "content": []}),
        said({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}),
    ],
)
def test_pictures_and_pages_are_not_bounded_by_their_bytes(content: list[dict[str, object]]) -> None:
    prompt = read(messages=content).prompt

    assert (prompt.has_media, prompt.texts) == (True, ())


def test_tools_that_anthropic_defines_and_the_client_runs_are_bounded_generously() -> None:
    own = read(tools=[TOOL]).prompt.schema_bytes
    defined = read(tools=[{"type": "computer_20250124", "name": "computer"}, {"type": "bash_20250124", "name": "bash"}])

    assert defined.prompt.schema_bytes > own + 2 * 1024


def test_only_the_models_name_and_the_maximum_are_changed() -> None:
    body = parse_body(body_of(stream=True))
    request = MESSAGES.parse_request(body, Asked())

    def changes(model: str, granted: int) -> dict[str, object]:
        return MESSAGES.upstream_changes(body, request, provider_model=model, granted_max_tokens=granted)

    assert changes("claude-sonnet-4-5", 300) == {"model": "claude-sonnet-4-5", "max_tokens": 300}
    assert changes("claude", 500) == {}
    assert request.wants_usage


def test_a_call_goes_where_anthropic_takes_it_with_the_key_where_it_looks_for_it() -> None:
    assert MESSAGES.upstream_target("/v1", read(), "claude") == Target(path="/v1/messages")
    assert MESSAGES.upstream_target("/v1/", read(), "claude") == Target(path="/v1/messages")
    assert MESSAGES.credential_headers("sk-ant") == {"x-api-key": "sk-ant"}
    assert protocol_of_path("/v1/messages") == "anthropic_messages"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidApiKey("m"), "authentication_error"),
        (ModelNotAllowed("m"), "permission_error"),
        (ModelNotFound("m"), "not_found_error"),
        (InvalidRequest("m"), "invalid_request_error"),
        (UnsupportedEncoding("m"), "invalid_request_error"),
        (RequestTooLarge("m"), "request_too_large"),
        (RateLimitExceeded("m"), "rate_limit_error"),
        (InsufficientQuota("m"), "rate_limit_error"),
        (PolicyUnavailable("m"), "api_error"),
        (BursarError("m"), "api_error"),
    ],
)
def test_an_error_is_written_as_anthropic_writes_it(error: BursarError, kind: str) -> None:
    written = json.loads(MESSAGES.error_body(error))

    assert written == {
        "type": "error",
        "error": {"type": kind, "message": "m", "code": error.code, "param": None},
    }
