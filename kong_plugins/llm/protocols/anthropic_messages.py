"""Anthropic's Messages (POST /v1/messages).

As in every wire format, members that are known to leave the price alone pass untouched and any other is refused. So
are the tools that Anthropic runs itself (searches, code, MCP): each of their rounds bills the whole prompt anew, and
fees beside it. The same goes for the betas that a client names in its header.
https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import BursarError, InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.anthropic_usage import read_message, read_stream
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    has_only,
    is_count,
    is_flag,
    is_one_of,
    items_of,
    message_list,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.limit_headers import anthropic_limit_headers
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, strings_in

READS_TARGET: Final = False
limit_headers = anthropic_limit_headers

_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_SCHEMA_MEMBERS: Final = ("tools", "tool_choice", "output_config", "output_format")
# Blocks whose tokens have nothing to do with their bytes: pictures, pages, and what is cut up to be cited.
_MEDIA_BLOCKS: Final = frozenset({"image", "document", "search_result"})
_INNER_BLOCKS: Final = frozenset({"text", "tool_reference"}) | _MEDIA_BLOCKS
_BLOCKS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "tool_result"}) | _MEDIA_BLOCKS
_SOURCES: Final = frozenset({"base64", "content", "text", "url"})
# Tools that Anthropic defines and the client runs; their definitions cost up to 735 tokens each that no byte of the
# request shows, and a computer's another 499: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview
_CLIENT_TOOLS: Final = re.compile(r"(?:bash|text_editor|computer|memory)_[0-9]{8}")
_DEFINITION_BYTES: Final = 2048
THINKING: Final = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
UNTOUCHED: Final = frozenset(
    {"diagnostics", "output_format", "stop_sequences", "temperature", "tool_choice", "top_k", "top_p"}
)
# What these allow is free, or billed in the usage that is read anyway. Refused are, among others, the window of a
# million tokens and the fast mode, which have prices of their own, and whatever lets Anthropic run something itself.
_FREE_BETAS: Final = re.compile(
    r"(?:advanced-tool-use|cache-diagnosis|computer-use|context-management|dev-full-thinking|effort"
    r"|extended-cache-ttl|fine-grained-tool-streaming|interleaved-thinking|max-tokens-3-5-sonnet"
    r"|model-context-window-exceeded|output-128k|output-300k|pdfs|prompt-caching(?:-scope)?|structured-outputs"
    r"|task-budgets|thinking-binding-controls|thinking-display-updates|thinking-token-count|token-counting"
    r"|token-efficient-tools|tool-examples)-[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|claude-code-[0-9]{8}"
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member or a beta has a wrong type or value, or cannot be metered.
    """
    check_betas(asked.betas)
    check_members(body, CHECKS, untouched=UNTOUCHED)
    return message_request(body, model=model_name(body), stream=body.get("stream") is True)


def message_request(body: Body, *, model: str, stream: bool) -> ModelRequest:
    """The request that a body asks for whose members have been checked. Raises: InvalidRequest."""
    if body.get("max_tokens") is None:
        raise InvalidRequest("max_tokens is required.", param="max_tokens")
    messages = message_list(body)
    blocks = [
        *_blocks_of(body.get("system"), "system", {"text"}),
        *(each for index, message in enumerate(messages) for each in _message_blocks(message, index)),
    ]
    cached = [*blocks, *_tools(body), ({"cache_control": body.get("cache_control")}, "")]
    thinking = body.get("thinking") or {}
    return ModelRequest(
        model=model,
        prompt=_prompt(body, messages, [block for block, _ in blocks]),
        stream=stream,
        # Anthropic's streams always end with their usage, and clients count on it.
        wants_usage=True,
        requested_max_tokens=body.get("max_tokens"),
        user=(body.get("metadata") or {}).get("user_id"),
        thinks=THINKING.get(str(thinking.get("type"))),
        thinking_tokens=thinking.get("budget_tokens") or 0,
        writes_1h=any(is_cached_for_an_hour(holder, where) for holder, where in cached),
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, and the granted output."""
    wanted: dict[str, object] = {"model": provider_model, "max_tokens": granted_max_tokens}
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/messages")


def credential_headers(credential: str) -> dict[str, str]:
    """The provider's key where Anthropic looks for it."""
    return {"x-api-key": credential}


def error_body(error: BursarError) -> str:
    """The error as Anthropic writes it, with our code beside its type."""
    kind = "api_error" if error.http_status >= 500 else _ERROR_TYPES.get(error.http_status, "invalid_request_error")
    content = {"type": kind, "message": error.message, "code": error.code, "param": error.param}
    return json.dumps({"type": "error", "error": content})


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_stream(answer) if answer.is_event_stream else read_message(answer)


def check_betas(betas: Iterable[str]) -> None:
    """Refuse any beta that is not known to leave the price alone. Raises: InvalidRequest."""
    for beta in betas:
        if _FREE_BETAS.fullmatch(beta) is None:
            raise InvalidRequest(
                f"The beta {beta[:64]!r} is not available through this gateway, since it may have a price of its own.",
                param="anthropic-beta",
            )


def _prompt(body: Body, messages: list[dict[str, Any]], blocks: list[Mapping[str, Any]]) -> Prompt:
    has_media = any(block["type"] in _MEDIA_BLOCKS for block in blocks)
    read = [*messages, body.get("system") or ""]
    definitions = sum(_is_defined_by_anthropic(tool) for tool, _ in _tools(body))
    return Prompt(
        texts=() if has_media else tuple(text for part in read for text in strings_in(part, names=True)),
        message_count=len(read),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name))
        + definitions * _DEFINITION_BYTES,
        has_media=has_media,
    )


def _message_blocks(message: Mapping[str, Any], index: int) -> Iterator[tuple[Mapping[str, Any], str]]:
    return _blocks_of(message.get("content"), f"messages[{index}].content", _BLOCKS)


def _blocks_of(content: Any, where: str, kinds: Collection[str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every content block, also those inside others, each with the place where it stands.

    Raises:
        InvalidRequest: one is of a kind that is not metered.
    """
    pending = [(content, where, kinds)]
    while pending:
        content, where, kinds = pending.pop()
        if content is None or isinstance(content, str):
            continue
        if not isinstance(content, list):
            raise InvalidRequest("Content must be text or a list of content blocks.", param=where)
        for index, block in enumerate(content):
            place = f"{where}[{index}]"
            if not isinstance(block, dict) or str(block.get("type")) not in kinds:
                raise InvalidRequest("This content block is not available through this gateway.", param=place)
            yield block, place
            pending.append(_inner_content(block, place))


def _inner_content(block: Mapping[str, Any], place: str) -> tuple[Any, str, Collection[str]]:
    """What a block holds of others.

    Raises:
        InvalidRequest: its source is none that this caller could have been seen to own, such as an uploaded file.
    """
    if block["type"] not in ("document", "image"):
        inner = block.get("content") if block["type"] in ("tool_result", "search_result") else None
        return inner, f"{place}.content", _INNER_BLOCKS
    source = block.get("source")
    if not isinstance(source, dict) or str(source.get("type")) not in _SOURCES:
        raise InvalidRequest("This source is not available through this gateway.", param=f"{place}.source")
    return source.get("content"), f"{place}.source.content", _INNER_BLOCKS


def _tools(body: Body) -> list[tuple[Mapping[str, Any], str]]:
    return [(tool, f"tools[{index}]") for index, tool in enumerate(body.get("tools") or ())]


def is_cached_for_an_hour(holder: Mapping[str, Any], where: str) -> bool:
    """Whether the prompt up to here is to be kept for an hour. Raises: InvalidRequest: nobody knows for how long."""
    control = holder.get("cache_control")
    if control is None:
        return False
    is_known = isinstance(control, dict) and control.get("type") == "ephemeral"
    if not is_known or control.get("ttl") not in (None, "5m", "1h"):
        raise InvalidRequest(
            "cache_control must be of the type ephemeral, with a ttl of 5m or 1h.",
            param=f"{where}.cache_control".lstrip("."),
        )
    return bool(control.get("ttl") == "1h")


def _is_defined_by_anthropic(tool: Mapping[str, Any]) -> bool:
    return tool.get("type") not in (None, "custom")


def _are_tools(value: Any, name: str) -> None:
    for index, tool in enumerate(items_of(value, name)):
        if not isinstance(tool, dict):
            raise InvalidRequest("A tool must be an object.", param=f"{name}[{index}]")
        if _is_defined_by_anthropic(tool) and _CLIENT_TOOLS.fullmatch(str(tool["type"])) is None:
            raise InvalidRequest(
                "Tools that run at the provider cannot be metered; only those that the client runs are available "
                "through this gateway.",
                param=f"{name}[{index}]",
            )


def is_thinking(value: Any, name: str) -> None:
    """Check how much the model is asked to think. Raises: InvalidRequest."""
    if value is None:
        return
    kind = str(value.get("type")) if isinstance(value, dict) else ""
    if kind not in THINKING:
        raise InvalidRequest("This way of thinking is not available through this gateway.", param=name)
    is_count(MAX_TOKENS)(value.get("budget_tokens"), f"{name}.budget_tokens")


def _is_metadata(value: Any, name: str) -> None:
    user = value.get("user_id") if isinstance(value, dict) else None
    if value is not None and (not isinstance(value, dict) or not isinstance(user, str | None)):
        raise InvalidRequest(f"{name} must be an object whose user_id is a string.", param=name)


def _are_context_edits(value: Any, name: str) -> None:
    """Clearing what is old makes a prompt smaller; a summary in its place would be another call."""
    has_only("edits")(value, name)
    edits = (value or {}).get("edits") or []
    if not isinstance(edits, list) or not all(_is_clearing(edit) for edit in edits):
        raise InvalidRequest("Of context edits, only clearing is available through this gateway.", param=name)


def _is_clearing(edit: Any) -> bool:
    return isinstance(edit, dict) and str(edit.get("type")).startswith("clear_")


CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "messages": passes,
    "system": passes,
    "cache_control": passes,
    "max_tokens": is_count(MAX_TOKENS),
    "stream": is_flag,
    "thinking": is_thinking,
    "metadata": _is_metadata,
    "tools": _are_tools,
    "context_management": _are_context_edits,
    "output_config": has_only("effort", "format", "task_budget"),
    # The fast mode and single regions have prices of their own; and where data may go, the policy says.
    "service_tier": is_one_of("auto", "standard_only"),
    "speed": is_one_of("standard"),
    "inference_geo": is_one_of(),
}
