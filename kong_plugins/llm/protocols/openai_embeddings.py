"""OpenAI's embeddings (POST /v1/embeddings), which many providers also speak: nothing is written, only read.

https://developers.openai.com/api/reference/resources/embeddings/methods/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kong_plugins.llm.body import Body, first_members
from kong_plugins.llm.protocols.answers import (
    Answer,
    Count,
    Reading,
    decoded,
    decoded_from_member_on,
    readable_model_name,
)
from kong_plugins.llm.protocols.checks import Check, check_members, is_text, model_name, passes
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import openai_credential_headers, openai_error_body
from kong_plugins.llm.protocols.openai_prompts import prompt_of
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.usage import Usage

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

_UNTOUCHED: Final = frozenset({"dimensions", "encoding_format"})


class _WireUsage(msgspec.Struct):
    """Some who speak as OpenAI does tell the total alone, which is what was read."""

    prompt_tokens: Count | None = None
    total_tokens: Count | None = None


class _Document(msgspec.Struct):
    model: Any = None
    usage: _WireUsage | None = None


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    return ModelRequest(
        model=model_name(body),
        prompt=prompt_of(body.get("input"), "input"),
        user=body.get("user"),
        has_output=False,
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model."""
    return {} if body.get("model") == provider_model else {"model": provider_model}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/embeddings")


def read_answer(answer: Answer) -> Reading:
    """The provider's usage; it stands after the vectors, or before them."""
    if not answer.is_readable:
        return Reading()
    whole = answer.whole
    if whole is not None:
        return _reading(decoded(whole, _Document))
    beginning = first_members(answer.head.decode(errors="replace"))
    end = (_last_members(answer.tail) or _first_members(beginning)) if answer.complete else None
    return _reading(end, model=beginning.get("model"))


def _last_members(tail: bytes) -> _Document | None:
    """The document's end, from the model's name on where it stands there, else from the usage on."""
    return decoded_from_member_on(tail, "model", _Document) or decoded_from_member_on(tail, "usage", _Document)


def _first_members(beginning: dict[str, Any]) -> _Document | None:
    try:
        return msgspec.convert(beginning, _Document)
    except msgspec.ValidationError:
        return None


def _reading(document: _Document | None, *, model: object = None) -> Reading:
    document = document or _Document()
    usage = document.usage or _WireUsage()
    read_tokens = usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    return Reading(
        usage=None if read_tokens is None else Usage(input_tokens=read_tokens),
        response_model=readable_model_name(document.model or model),
    )


_CHECKS: Final[Mapping[str, Check]] = {"model": passes, "input": passes, "user": is_text}
