"""OpenAI's responses (POST /v1/responses).

As in every wire format, members that are known to leave the price alone pass untouched and any other is refused. So
are the tools that OpenAI runs itself (searches, code, pictures, MCP): each of their rounds bills the whole context
anew, and fees beside it; and so is work in the background, whose usage no answer of this call would tell.
https://developers.openai.com/api/reference/resources/responses/methods/create
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    is_count,
    is_flag,
    is_text,
    items_of,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import (
    asked_tiers,
    check_headers,
    is_known_tier,
    openai_credential_headers,
    openai_error_body,
)
from kong_plugins.llm.protocols.openai_responses_usage import read_response, read_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, strings_in

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

_SCHEMA_MEMBERS: Final = ("tools", "tool_choice", "text")
# What OpenAI keeps and reads besides what is sent.
_KEPT_CONTEXT: Final = ("previous_response_id", "conversation")
_TEXT_PARTS: Final = frozenset({"input_text", "output_text", "refusal", "summary_text", "reasoning_text"})
_MEDIA_PARTS: Final = frozenset({"input_image", "input_file"})
_WRITTEN_ITEMS: Final = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "computer_call",
    }
)
# Items of which the bytes sent say nothing: kept at OpenAI, encrypted, or a picture.
_UNBOUND_ITEMS: Final = frozenset({"item_reference", "reasoning", "compaction", "computer_call_output"})
_OWN_TOOLS: Final = frozenset({"function", "custom"})
# Tools that OpenAI defines, in words that no byte of the request shows, and the client runs.
_CLIENT_TOOLS: Final = frozenset({"apply_patch", "computer", "computer_use_preview", "local_shell", "shell"})
_UNTOUCHED: Final = frozenset(
    {
        "include",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "top_logprobs",
        "top_p",
        "truncation",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_headers(asked)
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    items = _items(body.get("input"))
    return ModelRequest(
        model=model_name(body),
        prompt=_prompt(body, items),
        stream=body.get("stream") is True,
        # These streams always end with their usage.
        wants_usage=True,
        requested_max_tokens=body.get("max_output_tokens"),
        user=body.get("user"),
        service_tiers=asked_tiers(body),
        stored=next(_stored(body, items), None),
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, and the granted output."""
    wanted: dict[str, object] = {"model": provider_model, "max_output_tokens": granted_max_tokens}
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/responses")


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_stream(answer) if answer.is_event_stream else read_response(answer)


def _items(value: Any) -> list[dict[str, Any]]:
    """The items of the input, each an object. Raises: InvalidRequest."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list | None):
        raise InvalidRequest("input must be text or a list of items.", param="input")
    for index, item in enumerate(value or ()):
        if not isinstance(item, dict):
            raise InvalidRequest("An item of the input must be an object.", param=f"input[{index}]")
        if _kind_of(item) not in _WRITTEN_ITEMS | _UNBOUND_ITEMS:
            raise InvalidRequest("This item is not available through this gateway.", param=f"input[{index}]")
    return value or []


def _kind_of(item: Mapping[str, Any]) -> str:
    """The item's type; a message need not name it, nor does a reference, which is nothing but an id."""
    return str(item.get("type") or ("message" if "role" in item else "item_reference"))


def _prompt(body: Body, items: list[dict[str, Any]]) -> Prompt:
    has_media = any(
        [
            *(_is_unbound(item, f"input[{index}]") for index, item in enumerate(items)),
            *(body.get(name) is not None for name in _KEPT_CONTEXT),
            *(_kind_of(tool) in _CLIENT_TOOLS for tool in body.get("tools") or ()),
        ]
    )
    instructions = body.get("instructions")
    return Prompt(
        texts=() if has_media else tuple(_texts(items, instructions)),
        message_count=len(items) + (instructions is not None),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name)),
        has_media=has_media,
    )


def _stored(body: Body, items: list[dict[str, Any]]) -> Iterator[str]:
    """Where the request names what lies in the provider's account. The id of a reasoning item does not count, though
    OpenAI may look it up: it is no more than what this model has thought, and OpenAI's own examples hand it back."""
    yield from (name for name in _KEPT_CONTEXT if body.get(name) is not None)
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if _kind_of(item) == "item_reference":
            yield where
        parts = (part for name in ("content", "output") for part in _listed(item.get(name)))
        if any(isinstance(part, dict) and part.get("file_id") is not None for part in parts):
            yield f"{where}.file_id"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_unbound(item: Mapping[str, Any], where: str) -> bool:
    """Whether the bytes of the item do not bound its tokens.

    Raises:
        InvalidRequest: it has a part of a kind that is not metered.
    """
    if _kind_of(item) in _UNBOUND_ITEMS:
        return True
    kinds = {str(part.get("type")) if isinstance(part, dict) else "" for part in _parts(item, where)}
    if not kinds <= _TEXT_PARTS | _MEDIA_PARTS:
        raise InvalidRequest(
            "A content part must be text, an input_image or an input_file; others are not available through this "
            "gateway.",
            param=where,
        )
    return not kinds.isdisjoint(_MEDIA_PARTS)


def _parts(item: Mapping[str, Any], where: str) -> Iterator[Any]:
    """The parts of the item's content and output, where they are not plain text. Raises: InvalidRequest."""
    if _kind_of(item) == "shell_call_output":
        return
    for name in ("content", "output"):
        value = item.get(name)
        if not isinstance(value, str | list | None):
            raise InvalidRequest("Content must be text or a list of content parts.", param=f"{where}.{name}")
        yield from value if isinstance(value, list) else ()


def _texts(items: Iterable[Mapping[str, Any]], instructions: str | None) -> Iterator[str]:
    """Every text that the model reads; the names of members too, since templates render them."""
    if instructions is not None:
        yield instructions
    for item in items:
        yield from strings_in(item, names=True)


def _are_tools(value: Any, name: str) -> None:
    for index, tool in enumerate(items_of(value, name)):
        where = f"{name}[{index}]"
        _check_tool(tool, where, _OWN_TOOLS | _CLIENT_TOOLS | {"namespace"})
        if tool["type"] == "namespace":
            for number, inner in enumerate(items_of(tool.get("tools"), f"{where}.tools")):
                _check_tool(inner, f"{where}.tools[{number}]", _OWN_TOOLS)
        # Unless it says that the client runs it, OpenAI runs the shell in a container of its own.
        if tool["type"] == "shell" and (tool.get("environment") or {}) != {"type": "local"}:
            raise InvalidRequest(f"{_RUN_BY_CLIENT} A shell's environment must be local.", param=where)


def _check_tool(tool: Any, where: str, kinds: Collection[str]) -> None:
    if not isinstance(tool, dict) or str(tool.get("type")) not in kinds:
        raise InvalidRequest(_RUN_BY_CLIENT, param=where)


_RUN_BY_CLIENT: Final = (
    "Tools that run at the provider, such as web_search, file_search or code_interpreter, cannot be metered; only "
    "those that the client runs are available through this gateway."
)


def _is_no_stored_prompt(value: Any, name: str) -> None:
    """One brings tools of its own: https://developers.openai.com/api/docs/guides/prompting"""
    if value is not None:
        raise InvalidRequest(
            "A stored prompt may bring tools that run at the provider, and cannot be metered. Send its text as "
            "instructions, and its tools with the request.",
            param=name,
        )


def _is_not_in_background(value: Any, name: str) -> None:
    is_flag(value, name)
    if value:
        raise InvalidRequest(
            "Background responses cannot be metered, since their usage comes in no answer to this call. Send the "
            "request without background, streamed if it takes long.",
            param=name,
        )


def _has_only(**allowed: Collection[object] | None) -> Check:
    """The member is an object of these members, each with any value, or one of those named."""

    def check(value: Any, name: str) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            raise InvalidRequest(f"{name} must be an object.", param=name)
        for member, setting in value.items():
            values = allowed.get(member, ())
            if values is not None and setting is not None and setting not in values:
                raise InvalidRequest(
                    f"This value of {name}.{member[:64]} is not available through this gateway.", param=name
                )

    return check


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "input": passes,
    "instructions": is_text,
    "previous_response_id": passes,
    "conversation": passes,
    "prompt": _is_no_stored_prompt,
    "max_output_tokens": is_count(MAX_TOKENS),
    "stream": is_flag,
    "stream_options": _has_only(include_obfuscation=None),
    "background": _is_not_in_background,
    "tools": _are_tools,
    "user": is_text,
    # More than one attempt at an answer, and what is cached for longer, have prices of their own.
    "reasoning": _has_only(effort=None, summary=None, generate_summary=None, context=None, mode=["standard"]),
    "prompt_cache_options": _has_only(mode=None, ttl=["30m"]),
    "service_tier": is_known_tier,
}
