"""Cohere's chat, version 2 (POST /v2/chat).

Members that leave the price alone pass untouched and any other is refused. Cohere runs no tools of its own here.
https://docs.cohere.com/v2/reference/chat
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import BursarError, InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    has_only,
    is_count,
    is_flag,
    items_of,
    message_list,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.cohere_usage import read_chat, read_stream
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, strings_in

READS_TARGET: Final = False
# Cohere tells little of how its limits stand; these headers are the ones that most clients know.
limit_headers = openai_limit_headers

_SCHEMA_MEMBERS: Final = ("tools", "documents", "response_format")
_MEDIA_BLOCK: Final = "image_url"
_BLOCKS: Final = frozenset({"text", "thinking", "document", _MEDIA_BLOCK})
_THINKING: Final = {"enabled": True, "disabled": False}
_UNTOUCHED: Final = frozenset(
    {
        "citation_options",
        "documents",
        "frequency_penalty",
        "k",
        "logprobs",
        "p",
        "presence_penalty",
        "priority",
        "response_format",
        "safety_mode",
        "seed",
        "stop_sequences",
        "strict_tools",
        "temperature",
        "tool_choice",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    thinking = body.get("thinking") or {}
    return ModelRequest(
        model=model_name(body),
        prompt=_prompt(body),
        stream=body.get("stream") is True,
        # Cohere's streams always end with their usage.
        wants_usage=True,
        requested_max_tokens=body.get("max_tokens"),
        thinks=_THINKING.get(str(thinking.get("type"))),
        thinking_tokens=thinking.get("token_budget") or 0,
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, and the granted output."""
    wanted: dict[str, object] = {"model": provider_model, "max_tokens": granted_max_tokens}
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v2`."""
    return Target(path=base_path.rstrip("/") + "/chat")


def credential_headers(credential: str) -> dict[str, str]:
    """The provider's key where Cohere looks for it."""
    return {"authorization": f"Bearer {credential}"}


def error_body(error: BursarError) -> str:
    """The error as Cohere writes it, with our code beside its message."""
    return json.dumps({"message": error.message, "code": error.code, "param": error.param})


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_stream(answer) if answer.is_event_stream else read_chat(answer)


def _prompt(body: Body) -> Prompt:
    messages = message_list(body)
    has_media = [kind == _MEDIA_BLOCK for index, message in enumerate(messages) for kind in _blocks(message, index)]
    return Prompt(
        texts=() if any(has_media) else tuple(strings_in(messages, names=True)),
        message_count=len(messages),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name)),
        has_media=any(has_media),
    )


def _blocks(message: Mapping[str, Any], index: int) -> Iterator[str]:
    """The kind of each content block of a message. Raises: InvalidRequest: one is of a kind that is not metered."""
    content, where = message.get("content"), f"messages[{index}].content"
    if content is None or isinstance(content, str):
        return
    for block in items_of(content, where):
        kind = str(block.get("type")) if isinstance(block, dict) else ""
        if kind not in _BLOCKS:
            raise InvalidRequest("This content block is not available through this gateway.", param=where)
        yield kind


def _are_tools(value: Any, name: str) -> None:
    for index, tool in enumerate(items_of(value, name)):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise InvalidRequest("Only functions are available through this gateway.", param=f"{name}[{index}]")


def _is_thinking(value: Any, name: str) -> None:
    has_only("type", "token_budget")(value, name)
    if value is None:
        return
    if str(value.get("type")) not in _THINKING:
        raise InvalidRequest("thinking must be enabled or disabled.", param=name)
    is_count(MAX_TOKENS)(value.get("token_budget"), f"{name}.token_budget")


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "messages": passes,
    "max_tokens": is_count(MAX_TOKENS),
    "stream": is_flag,
    "thinking": _is_thinking,
    "tools": _are_tools,
}
