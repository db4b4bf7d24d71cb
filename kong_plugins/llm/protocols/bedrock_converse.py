"""Bedrock's Converse (POST /model/{modelId}/converse and /converse-stream), one format for all of its models.

As in every wire format, members that are known to leave the price alone pass untouched and any other is refused. So
are guardrails, which are billed by the text unit; tools that Bedrock runs itself; prompts and files that lie in AWS,
which no caller can be seen to own; audio, whose tokens have a price of their own; and faster answers.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import bedrock
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.anthropic_messages import THINKING, check_betas, is_thinking
from kong_plugins.llm.protocols.checks import (
    MAX_TOKENS,
    Check,
    check_members,
    has_only,
    is_count,
    is_one_of,
    items_of,
    message_list,
    passes,
)
from kong_plugins.llm.protocols.converse_usage import read_converse, read_converse_stream
from kong_plugins.llm.protocols.eventstream import is_event_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt, strings_in

READS_TARGET: Final = True
limit_headers = bedrock.limit_headers
credential_headers = bedrock.credential_headers
error_body = bedrock.error_body

_STREAM: Final = "converse-stream"
_SCHEMA_MEMBERS: Final = ("toolConfig", "outputConfig")
_UNTOUCHED: Final = frozenset({"additionalModelResponseFieldPaths", "requestMetadata"})
# Blocks whose tokens have nothing to do with their bytes: pictures, films, pages, and what is cut up to be cited.
_MEDIA_BLOCKS: Final = frozenset({"image", "document", "video", "searchResult"})
_SYSTEM_BLOCKS: Final = frozenset({"text", "cachePoint"})
_RESULT_BLOCKS: Final = frozenset({"text", "json"}) | _MEDIA_BLOCKS
_BLOCKS: Final = (
    frozenset({"toolUse", "toolResult", "reasoningContent", "citationsContent"}) | _SYSTEM_BLOCKS | _MEDIA_BLOCKS
)
_SOURCES: Final = frozenset({"bytes", "text", "content"})
_THINKING_MEMBERS: Final = ("thinking", "reasoning_config", "reasoningConfig")

_Block = tuple[Mapping[str, Any], str]


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member or a header has a wrong type or value, or cannot be metered.
    """
    model, operation = bedrock.asked_model(asked)
    bedrock.check_options(asked, priced={})
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    messages = message_list(body)
    blocks = [
        *_blocks_of(body.get("system"), "system", _SYSTEM_BLOCKS),
        *(each for number, message in enumerate(messages) for each in _message_blocks(message, number)),
    ]
    is_for_an_hour = [_is_cached_for_an_hour(*each) for each in (*blocks, *_tools(body))]
    thinking = _thinking(body)
    return ModelRequest(
        model=model,
        prompt=_prompt(body, messages, blocks),
        stream=operation == _STREAM,
        # Bedrock's streams always end with their usage, and clients count on it.
        wants_usage=True,
        requested_max_tokens=(body.get("inferenceConfig") or {}).get("maxTokens"),
        thinks=THINKING.get(str(thinking.get("type"))),
        thinking_tokens=thinking.get("budget_tokens") or 0,
        writes_1h=any(is_for_an_hour),
        service_tiers=bedrock.SERVICE_TIERS[(body.get("serviceTier") or {}).get("type") or "default"],
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The granted output; without any, Bedrock takes the model's greatest."""
    settings = body.get("inferenceConfig") or {}
    if settings.get("maxTokens") == granted_max_tokens:
        return {}
    return {"inferenceConfig": {**settings, "maxTokens": granted_max_tokens}}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL."""
    return bedrock.upstream_target(base_path, provider_model, _STREAM if request.stream else "converse")


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    return read_converse_stream(answer) if is_event_stream(answer) else read_converse(answer)


def _prompt(body: Body, messages: list[dict[str, Any]], blocks: list[_Block]) -> Prompt:
    has_media = any(block.keys() & _MEDIA_BLOCKS for block, _ in blocks)
    read = [*messages, body.get("system") or ""]
    return Prompt(
        texts=() if has_media else tuple(text for part in read for text in strings_in(part, names=True)),
        message_count=len(read),
        schema_bytes=sum(body.span_bytes(name) for name in _SCHEMA_MEMBERS if body.get(name)),
        has_media=has_media,
    )


def _message_blocks(message: Mapping[str, Any], number: int) -> Iterator[_Block]:
    return _blocks_of(message.get("content"), f"messages[{number}].content", _BLOCKS)


def _blocks_of(content: Any, where: str, kinds: frozenset[str]) -> Iterator[_Block]:
    """Every content block, also those in the results of tools, each with the place where it stands.

    Raises:
        InvalidRequest: one is of a kind that is not metered, or lies where this caller cannot be seen to own it.
    """
    for number, block in enumerate(items_of(content, where)):
        place = f"{where}[{number}]"
        if not isinstance(block, dict) or not block.keys() <= kinds:
            raise InvalidRequest("This content block is not available through this gateway.", param=place)
        for kind in block.keys() & _MEDIA_BLOCKS - {"searchResult"}:
            _check_source(block[kind], f"{place}.{kind}.source")
        yield block, place
        if "toolResult" in block:
            result = f"{place}.toolResult"
            yield from _blocks_of(_member(block["toolResult"], "content", result), f"{result}.content", _RESULT_BLOCKS)


def _check_source(media: Any, where: str) -> None:
    source = _member(media, "source", where)
    if not isinstance(source, dict) or not source.keys() <= _SOURCES:
        raise InvalidRequest("This source is not available through this gateway.", param=where)


def _member(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidRequest("This must be an object.", param=where)
    return value.get(name)


def _is_cached_for_an_hour(holder: Mapping[str, Any], where: str) -> bool:
    return "cachePoint" in holder and bedrock.is_cached_for_an_hour(holder["cachePoint"], f"{where}.cachePoint")


def _tools(body: Body) -> list[_Block]:
    tools = (body.get("toolConfig") or {}).get("tools") or ()
    return [(tool, f"toolConfig.tools[{number}]") for number, tool in enumerate(tools)]


def _thinking(body: Body) -> dict[str, Any]:
    """How much the model is asked to think, under whichever of the names that models have for it."""
    fields = body.get("additionalModelRequestFields") or {}
    return next((fields[name] for name in _THINKING_MEMBERS if fields.get(name)), {})


def _are_settings(value: Any, name: str) -> None:
    has_only("maxTokens", "stopSequences", "temperature", "topP")(value, name)
    is_count(MAX_TOKENS)((value or {}).get("maxTokens"), f"{name}.maxTokens")


def _are_tools(value: Any, name: str) -> None:
    has_only("tools", "toolChoice")(value, name)
    for number, tool in enumerate(items_of((value or {}).get("tools"), f"{name}.tools")):
        if not isinstance(tool, dict) or not tool.keys() <= {"toolSpec", "cachePoint"}:
            raise InvalidRequest(
                "Tools that run at the provider cannot be metered; only those that the client runs are available "
                "through this gateway.",
                param=f"{name}.tools[{number}]",
            )


def _is_tier(value: Any, name: str) -> None:
    has_only("type")(value, name)
    is_one_of(*bedrock.SERVICE_TIERS)((value or {}).get("type"), f"{name}.type")


def _is_latency(value: Any, name: str) -> None:
    has_only("latency")(value, name)
    is_one_of("standard")((value or {}).get("latency"), f"{name}.latency")


def _are_more_fields(value: Any, name: str) -> None:
    """Members in the words of a model's own maker, of which only those are known that leave the price alone."""
    has_only(*_MORE_FIELDS)(value, name)
    for member, check in _MORE_FIELDS.items():
        check((value or {}).get(member), f"{name}.{member}")


def _are_betas(value: Any, name: str) -> None:
    check_betas(str(beta) for beta in items_of(value, name))


def _no_guardrail(value: Any, name: str) -> None:
    if value is not None:
        raise InvalidRequest(
            "Guardrails are billed beside the model and cannot be metered; none is available through this gateway.",
            param=name,
        )


_MORE_FIELDS: Final[Mapping[str, Check]] = {
    "thinking": is_thinking,
    "reasoning_config": is_thinking,
    "reasoningConfig": is_thinking,
    "reasoning_effort": is_one_of("none", "minimal", "low", "medium", "high"),
    "anthropic_beta": _are_betas,
    "inferenceConfig": has_only("topK"),
    "output_config": has_only("effort"),
    "top_k": passes,
    "topK": passes,
}
_CHECKS: Final[Mapping[str, Check]] = {
    "messages": passes,
    "system": passes,
    "inferenceConfig": _are_settings,
    "toolConfig": _are_tools,
    "outputConfig": has_only("textFormat", "effort"),
    "additionalModelRequestFields": _are_more_fields,
    "serviceTier": _is_tier,
    # A faster answer has a price of its own.
    "performanceConfig": _is_latency,
    "guardrailConfig": _no_guardrail,
}
