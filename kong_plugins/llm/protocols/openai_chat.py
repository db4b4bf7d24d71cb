"""OpenAI chat completions, the wire format that most providers also speak (POST /v1/chat/completions).

Members that Bursar knows to leave the price alone pass untouched; any other is refused, because an unknown member
may bill what no hold covers (a service tier, a web search, audio, a second model).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.anthropic_messages import is_cached_for_an_hour
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    is_count,
    is_flag,
    is_one_of,
    is_text,
    items_of,
    message_list,
    model_name,
    passes,
)
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import (
    MAX_CHOICES,
    are_stream_options,
    asked_tiers,
    check_headers,
    is_known_tier,
    openai_credential_headers,
    openai_error_body,
    wants_usage,
    with_usage,
)
from kong_plugins.llm.protocols.openai_usage import read_completion, read_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, family_of, strings_in

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

_OUTPUT_MEMBERS: Final = ("max_tokens", "max_completion_tokens")
_SCHEMA_MEMBERS: Final = ("tools", "functions", "response_format")
_MEDIA_PARTS: Final = frozenset({"image_url", "file"})
_TEXT_PARTS: Final = frozenset({"text", "refusal"})
_UNTOUCHED: Final = frozenset(
    {
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "metadata",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "safety_identifier",
        "seed",
        "stop",
        "store",
        "temperature",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "verbosity",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request. OpenAI's own betas, which go by another header, are not about chat.

    Raises:
        InvalidRequest: a member or a header has a wrong type or value, or cannot be metered.
    """
    check_headers(asked)
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    messages = _messages(body)
    return ModelRequest(
        model=model_name(body),
        prompt=_prompt(body, messages),
        stream=body.get("stream") is True,
        wants_usage=wants_usage(body),
        choices=body.get("n") or 1,
        requested_max_tokens=min(filter(None, map(body.get, _OUTPUT_MEMBERS)), default=None),
        user=body.get("user"),
        writes_1h=_writes_for_an_hour(body, messages),
        service_tiers=asked_tiers(body),
        stored=next(_stored_files(messages), None),
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model, the granted output, and usage at the end of a stream."""
    wanted: dict[str, object] = {"model": provider_model}
    bounds = [name for name in _OUTPUT_MEMBERS if body.get(name) is not None]
    obeyed = family_of(provider_model).output_members
    if not set(bounds) & set(obeyed):
        bounds.append(obeyed[0])
    wanted.update(dict.fromkeys(bounds, granted_max_tokens))
    if request.stream:
        wanted["stream_options"] = with_usage(body)
    return {name: value for name, value in wanted.items() if body.get(name) != value}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/chat/completions")


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_stream(answer) if answer.is_event_stream else read_completion(answer)


def _messages(body: Body) -> list[dict[str, Any]]:
    messages = message_list(body)
    for index, message in enumerate(messages):
        if message.get("audio") is not None:
            raise InvalidRequest("Audio is not available through this gateway.", param=f"messages[{index}].audio")
    return messages


def _prompt(body: Body, messages: list[dict[str, Any]]) -> Prompt:
    media = [_holds_media(message, index) for index, message in enumerate(messages)]
    return Prompt(
        texts=() if any(media) else tuple(_texts(messages)),
        message_count=len(messages),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name)),
        has_media=any(media),
    )


def _stored_files(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Where a message names a file that lies in the provider's account."""
    for index, message in enumerate(messages):
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            file = part.get("file")
            if isinstance(file, dict) and file.get("file_id") is not None:
                yield f"messages[{index}].content"


def _writes_for_an_hour(body: Body, messages: list[dict[str, Any]]) -> bool:
    """Whether some of the prompt is to be cached for an hour, in Anthropic's words, which OpenRouter takes here too:
    https://openrouter.ai/docs/client-sdks/typescript/models/anthropiccachecontroldirective.md"""
    holders = [(tool, f"tools[{index}]") for index, tool in enumerate(body.get("tools") or ())]
    for index, message in enumerate(messages):
        holders.append((message, f"messages[{index}]"))
        content = message.get("content")
        holders += [(part, f"messages[{index}].content") for part in content] if isinstance(content, list) else []
    # Each is looked at, since an unknown time is refused wherever it stands.
    kept = [is_cached_for_an_hour(holder, where) for holder, where in holders]
    return any(kept)


def _holds_media(message: Mapping[str, Any], index: int) -> bool:
    """Whether the message has a part that its bytes do not bound.

    Raises:
        InvalidRequest: it has a part of a kind that is not metered.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return False
    kinds = {str(part.get("type")) if isinstance(part, dict) else "" for part in content}
    if kinds <= _TEXT_PARTS | _MEDIA_PARTS:
        return not kinds.isdisjoint(_MEDIA_PARTS)
    raise InvalidRequest(
        "A content part must be text, image_url or file; others are not available through this gateway.",
        param=f"messages[{index}].content",
    )


def _texts(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Every text in the messages; the names of other members too, since templates render them."""
    for message in messages:
        for name, value in message.items():
            if name in ("role", "content", "name") and isinstance(value, str):
                yield value
            elif value is not None:
                yield name
                yield from strings_in(value, names=True)


def _are_tools(value: Any, name: str) -> None:
    for index, tool in enumerate(items_of(value, name)):
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            raise InvalidRequest(
                "Only function and custom tools are available through this gateway.", param=f"{name}[{index}]"
            )


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "messages": passes,
    "stream": is_flag,
    "stream_options": are_stream_options,
    "max_tokens": is_count(MAX_TOKENS),
    "max_completion_tokens": is_count(MAX_TOKENS),
    "n": is_count(MAX_CHOICES),
    "tools": _are_tools,
    "user": is_text,
    "service_tier": is_known_tier,
    # Audio, predictions and searches have prices of their own.
    "modalities": is_one_of(["text"]),
    "audio": is_one_of(),
    "prediction": is_one_of(),
    "web_search_options": is_one_of(),
}
