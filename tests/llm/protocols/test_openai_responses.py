"""A request for OpenAI's responses is read strictly: what cannot be metered is refused, the rest is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest, Target

RESPONSES = wire_format("openai_responses")
FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"order":7}'}


def read(**members: Any) -> ModelRequest:
    body = json.dumps({"model": "mini", "input": "Hello there"} | members).encode()
    return RESPONSES.parse_request(parse_body(body), Asked())


def said(*parts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(parts)}]


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.choices, request.requested_max_tokens) == ("mini", False, 1, None)
    assert (request.wants_usage, request.user, request.has_output) == (True, None, True)
    assert "Hello there" in request.prompt.texts
    assert (request.prompt.has_media, request.prompt.schema_bytes) == (False, 0)


def test_a_full_request_is_read() -> None:
    request = read(
        stream=True,
        stream_options={"include_obfuscation": False},
        instructions="Be brief.",
        input=[
            *said({"type": "input_text", "text": "Where is my parcel?"}),
            CALL,
            {"type": "function_call_output", "call_id": "c1", "output": "On its way"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "Done"}]},
            {"type": "shell_call_output", "call_id": "c3", "output": [{"stdout": "README", "outcome": {"exit": 0}}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Soon."}]},
        ],
        tools=[FUNCTION, {"type": "custom", "name": "note"}, {"type": "namespace", "name": "n", "tools": [FUNCTION]}],
        tool_choice="auto",
        text={"format": {"type": "json_object"}},
        reasoning={"effort": "low", "summary": "auto", "mode": "standard"},
        prompt_cache_options={"mode": "explicit", "ttl": "30m"},
        max_output_tokens=300,
        background=False,
        service_tier="auto",
        store=False,
        metadata={"order": "7"},
        truncation="auto",
        user="alice",
    )

    assert (request.stream, request.requested_max_tokens, request.user) == (True, 300, "alice")
    assert request.prompt.message_count == 7
    told = {"Be brief.", "Where is my parcel?", '{"order":7}', "On its way", "Done", "README", "Soon."}
    assert told <= set(request.prompt.texts)
    assert request.prompt.schema_bytes > len(json.dumps(FUNCTION))
    assert not request.prompt.has_media


def test_null_means_absent() -> None:
    members = ["stream", "stream_options", "tools", "background", "service_tier", "reasoning", "instructions", "user"]

    assert read(**dict.fromkeys(members)) == read()


@pytest.mark.parametrize(
    "members",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"input": [{"id": "msg_1"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}]},
        {"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]},
        {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}]},
        {"input": said({"type": "input_image", "image_url": "https://example.com/a.png"})},
        {"input": said({"type": "input_text", "text": "See"}, {"type": "input_file", "file_id": "file_1"})},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]}]},
        {"tools": [{"type": "apply_patch"}]},
        {"tools": [{"type": "shell", "environment": {"type": "local"}}]},
    ],
)
def test_what_its_bytes_do_not_bound_is_held_at_the_whole_context(members: dict[str, Any]) -> None:
    prompt = read(**members).prompt

    assert (prompt.has_media, prompt.texts) == (True, ())


@pytest.mark.parametrize(
    ("members", "stored"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"input": [{"role": "user", "content": "Hi"}, {"id": "msg_1"}]}, "input[1]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": said({"type": "input_file", "file_id": "file_1"})}, "input[0].file_id"),
        (
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "file_id": "file_1"}]}]},
            "input[0].file_id",
        ),
        (
            {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"file_id": "file_1"}}]},
            "input[0].file_id",
        ),
        ({"input": said({"type": "input_file", "file_data": "JVBE", "file_id": None})}, None),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, None),
        ({"previous_response_id": None, "conversation": None}, None),
    ],
)
def test_where_a_request_names_what_lies_in_the_providers_account_is_seen(
    members: dict[str, Any], stored: str | None
) -> None:
    assert read(**members).stored == stored


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1", "variables": {"name": "Alice"}}, "input": None}, "prompt"),
        ({"background": "yes"}, "background"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"service_tier": "ultrafast"}, "service_tier"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [FUNCTION, {"type": "file_search", "vector_store_ids": ["vs"]}]}, "tools[1]"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools[0]"),
        ({"tools": [{"type": "image_generation"}]}, "tools[0]"),
        ({"tools": [{"type": "mcp", "server_url": "https://example.com"}]}, "tools[0]"),
        ({"tools": [{"type": "shell"}]}, "tools[0]"),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "tools[0]"),
        ({"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}, "tools[0].tools[0]"),
        ({"tools": ["web_search"]}, "tools[0]"),
        ({"tools": {}}, "tools"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"reasoning": {"mode": "pro"}}, "reasoning"),
        ({"reasoning": {"budget": 5}}, "reasoning"),
        ({"reasoning": "high"}, "reasoning"),
        ({"prompt_cache_options": {"ttl": "12h"}}, "prompt_cache_options"),
        ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"instructions": ["Be brief."]}, "instructions"),
        ({"model": None}, "model"),
        ({"input": 5}, "input"),
        ({"input": ["Hello"]}, "input[0]"),
        ({"input": [{"type": "additional_tools", "tools": []}]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "ws"}]}, "input[0]"),
        ({"input": [{"type": "mcp_approval_response", "approve": True}]}, "input[0]"),
        ({"input": said({"type": "input_audio"})}, "input[0]"),
        ({"input": said("Hello")}, "input[0]"),
        ({"input": [{"role": "user", "content": {"type": "input_audio"}}]}, "input[0].content"),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)

    assert caught.value.param == param


def test_work_in_the_background_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidRequest, match="without background, streamed"):
        read(background=True)


def test_the_provider_gets_its_own_model_name_and_the_granted_output() -> None:
    body = parse_body(json.dumps({"model": "mini", "input": "Hi", "max_output_tokens": 100}).encode())
    request = RESPONSES.parse_request(body, Asked())

    def changes(model: str, granted: int) -> dict[str, object]:
        return RESPONSES.upstream_changes(body, request, provider_model=model, granted_max_tokens=granted)

    assert changes("gpt-4.1", 50) == {"model": "gpt-4.1", "max_output_tokens": 50}
    assert changes("mini", 100) == {}
    assert RESPONSES.upstream_target("/v1/", request, "gpt-4.1") == Target(path="/v1/responses")


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v1/responses", "openai_responses"),
        ("/v1/responses/resp_1", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/responses/compact", None),
        ("/v1/responses/input_tokens", None),
    ],
)
def test_only_what_is_asked_for_here_and_now_is_served(path: str, protocol: str | None) -> None:
    assert protocol_of_path(path) == protocol
