"""A request for Cohere's chat is read strictly: what cannot be metered is refused, the rest is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InsufficientQuota, InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, wire_format
from kong_plugins.llm.requests import Asked, ModelRequest
from kong_plugins.llm.tokens import family_of

COHERE = wire_format("cohere_chat")
HELLO = [{"role": "user", "content": "Hello there"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def read(**members: Any) -> ModelRequest:
    return COHERE.parse_request(
        parse_body(json.dumps({"model": "mini", "messages": HELLO} | members).encode()), Asked()
    )


def said(*blocks: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(blocks)}]


def test_the_smallest_request_is_read() -> None:
    request = read()

    assert (request.model, request.stream, request.requested_max_tokens, request.thinks) == ("mini", False, None, None)
    assert {"user", "Hello there"} <= set(request.prompt.texts)
    assert (request.prompt.schema_bytes, request.wants_usage) == (0, True)


def test_a_full_request_is_read() -> None:
    documents = ["A manual", {"id": "d", "data": {"title": "Another"}}]
    request = read(
        stream=True,
        max_tokens=500,
        messages=[
            *said({"type": "text", "text": "What is the weather?"}),
            {"role": "assistant", "tool_plan": "I look.", "tool_calls": [{"function": {"arguments": "{}"}}]},
            {"role": "tool", "content": [{"type": "document", "document": {"data": "rain"}}]},
        ],
        tools=[TOOL],
        documents=documents,
        thinking={"type": "enabled", "token_budget": 200},
        safety_mode="OFF",
        temperature=0.3,
        priority=5,
    )

    assert (request.stream, request.requested_max_tokens, request.thinks, request.thinking_tokens) == (
        *(True, 500, True),
        200,
    )
    assert {"What is the weather?", "I look.", "rain"} <= set(request.prompt.texts)
    assert request.prompt.schema_bytes >= len(json.dumps([TOOL])) + len(json.dumps(documents))
    assert read(thinking={"type": "disabled"}).thinks is False
    assert read(thinking=None, tools=None, documents=None) == read()


def test_pictures_are_not_bounded_by_their_bytes() -> None:
    prompt = read(messages=said({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})).prompt

    assert (prompt.has_media, prompt.texts) == (True, ())


@pytest.mark.parametrize(
    ("member", "value", "param"),
    [
        ("model", 5, "model"),
        ("messages", [], "messages"),
        ("messages", [{"role": "user", "content": 5}], "messages[0].content"),
        ("messages", said("hi"), "messages[0].content"),
        ("messages", said({"type": "audio"}), "messages[0].content"),
        ("max_tokens", 0, "max_tokens"),
        ("max_tokens", 1.5, "max_tokens"),
        ("stream", "yes", "stream"),
        ("tools", [{"type": "web_search"}], "tools[0]"),
        ("tools", ["search"], "tools[0]"),
        ("thinking", {"type": "endless"}, "thinking"),
        ("thinking", {"type": "enabled", "depth": 5}, "thinking"),
        ("thinking", {"type": "enabled", "token_budget": -1}, "thinking.token_budget"),
        ("connectors", [{"id": "web-search"}], "connectors"),
        ("raw_prompting", True, "raw_prompting"),
    ],
)
def test_what_cannot_be_metered_is_refused(member: str, value: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**{member: value})

    assert caught.value.param == param


def test_only_the_models_name_and_the_maximum_are_changed() -> None:
    body = parse_body(json.dumps({"model": "mini", "max_tokens": 9, "messages": HELLO}).encode())
    request = COHERE.parse_request(body, Asked())

    changes = COHERE.upstream_changes(body, request, provider_model="command-r-08-2024", granted_max_tokens=9)
    assert changes == {"model": "command-r-08-2024"}


def test_the_call_goes_where_cohere_takes_it() -> None:
    assert COHERE.upstream_target("/v2", read(), "command-r").path == "/v2/chat"
    assert COHERE.credential_headers("k") == {"authorization": "Bearer k"}
    assert protocol_of_path("/v2/chat") == "cohere_chat"


def test_an_error_is_written_as_cohere_writes_it() -> None:
    written = json.loads(COHERE.error_body(InsufficientQuota("The budget is used up.")))

    assert written == {"message": "The budget is used up.", "code": "insufficient_quota", "param": None}


def test_cohere_s_reasoning_models_are_known_by_their_names() -> None:
    plain = ("command-r-08-2024", "command-r-plus-08-2024", "command-r7b-12-2024", "command-a-03-2025")

    assert not any(family_of(name).hides_reasoning for name in plain)
    assert family_of("command-a-reasoning-08-2025").hides_reasoning
