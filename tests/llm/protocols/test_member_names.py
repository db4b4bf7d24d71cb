"""Servers in Go read `Content` as `content`: what is checked must not reach them under another spelling."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.requests import Asked, ModelRequest

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CACHED = {"type": "ephemeral", "ttl": "1h"}
# The caller's own: names here are whatever its tools take.
SCHEMA = {"type": "object", "properties": {"Type": {"type": "string"}, "CONTENT": {"type": "string"}}}
OWN = {"Type": "parcel", "Content": "a vase", "IMAGES": []}

# A path, and a body in which everything is said that has a price.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": (
        "",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "See", "cache_control": CACHED}, IMAGE]},
                {"role": "tool", "content": "x", "tool_call_id": "c"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "metadata": {"Type": "order"},
        },
    ),
    "openai_responses": (
        "",
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "https://a.example"}],
                },
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            ],
            "tools": [
                {"type": "function", "name": "f", "parameters": SCHEMA},
                {"type": "namespace", "tools": [{"type": "custom", "name": "g"}]},
                {"type": "shell", "environment": {"type": "local"}},
            ],
        },
    ),
    "anthropic_messages": (
        "",
        {
            "max_tokens": 4096,
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example"}}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": OWN}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
                        {"type": "text", "text": "And?", "cache_control": CACHED},
                    ],
                },
            ],
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "tools": [{"name": "f", "input_schema": SCHEMA}, {"type": "bash_20250124", "name": "bash"}],
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            "metadata": {"user_id": "alice"},
        },
    ),
    "cohere_chat": (
        "",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "See"}, IMAGE]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "thinking": {"type": "enabled", "token_budget": 2000},
        },
    ),
    "ollama_chat": (
        "/api/chat",
        {
            "messages": [
                {"role": "user", "content": "See", "images": ["iVBO"]},
                {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": OWN}}]},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "options": {"num_predict": 500},
            "format": SCHEMA,
        },
    ),
    "bedrock_converse": (
        "/model/m/converse",
        {
            "messages": [
                {"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "iVBO"}}}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": OWN}}]},
                {
                    "role": "user",
                    "content": [
                        {"toolResult": {"toolUseId": "t", "content": [{"json": OWN}]}},
                        {"cachePoint": {"type": "default", "ttl": "1h"}},
                    ],
                },
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]},
            "inferenceConfig": {"maxTokens": 500},
        },
    ),
    "gemini": (
        "/v1beta/models/m:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBO"}}]}],
            "generationConfig": {"maxOutputTokens": 500, "thinkingConfig": {"thinkingBudget": 200}},
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
        },
    ),
}


def read(protocol: str, members: dict[str, Any]) -> ModelRequest:
    named = {} if protocol.startswith(("bedrock", "gemini")) else {"model": "m"}
    asked = Asked(path=REQUESTS[protocol][0])
    return wire_format(protocol).parse_request(parse_body(json.dumps({**named, **members}).encode()), asked)


def priced(request: ModelRequest) -> tuple[object, ...]:
    """What of a request bounds its price, but for the texts, which count under any name."""
    return (
        *(request.prompt.has_media, request.prompt.prompts, request.choices, request.requested_max_tokens),
        *(request.thinks, request.thinking_tokens, request.more_thinking_tokens, request.writes_1h, request.units),
        request.service_tiers,
    )


def renamed(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each member below the top level, with the value in which just its name is written otherwise."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            for name, changed in renamed(each, depth):
                yield name, [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, dict):
        for name, inner in value.items():
            for other in {name.capitalize(), name.upper(), name.replace("s", "ſ", 1)} - {name} if depth else ():
                yield name, {(other if each == name else each): kept for each, kept in value.items()}
            for below, changed in renamed(inner, depth + 1):
                yield below, {**value, name: changed}


@pytest.mark.parametrize("protocol", REQUESTS)
def test_what_has_a_price_is_seen_or_refused_however_its_member_is_written(protocol: str) -> None:
    members = REQUESTS[protocol][1]
    expected, refused = priced(read(protocol, copy.deepcopy(members))), set()

    for name, changed in renamed(members):
        try:
            assert priced(read(protocol, changed)) == expected, name
        except InvalidRequest:
            refused.add(name)

    assert refused, "names that are read"


@pytest.mark.parametrize(
    ("protocol", "members", "param"),
    [
        ("openai_chat", {"messages": [{"role": "user", "content": "x", "Content": [IMAGE]}]}, "Content"),
        ("openai_chat", {"messages": [{"role": "user", "content": [{**IMAGE, "type": "text", "Type": "x"}]}]}, "Type"),
        ("openai_responses", {"input": [{"role": "user", "CONTENT": [IMAGE]}]}, "CONTENT"),
        ("openai_responses", {"tools": [{"type": "custom", "name": "f", "tYpe": "web_search"}]}, "tYpe"),
        ("ollama_chat", {"messages": [{"role": "user", "content": "x", "imageſ": ["iVBO"]}]}, "imageſ"),
    ],
)
def test_a_member_beside_the_one_that_is_read_is_refused_by_name(
    protocol: str, members: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest, match="must be written") as caught:
        read(protocol, members)

    assert caught.value.param == param
