"""Gemini's generateContent and streamGenerateContent, at the Gemini API and at Vertex AI.

The path names the model and whether the answer streams; where a deployment's calls go at the provider is its base URL's
to say: `https://generativelanguage.googleapis.com/v1beta`, or Vertex's
`https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/publishers/google`.

Refused is, beside what nobody knows, whatever Google runs itself (searches, code, pages that it fetches), since each of
its rounds bills the prompt anew, and fees beside it; and content that lies in the provider's account.
https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import BursarError, InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import MAX_TOKENS, Check, is_count, is_flag, is_one_of, is_text, passes
from kong_plugins.llm.protocols.gemini_names import body_fields, check_fields, fields_of, items, spellings
from kong_plugins.llm.protocols.gemini_prompt import prompt_of
from kong_plugins.llm.protocols.gemini_usage import read_array, read_events, read_whole
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.usage import STANDARD_TIER

READS_TARGET: Final = True
# Google tells nobody how its limits stand; these headers are the ones that most clients know.
limit_headers = openai_limit_headers

# The Gemini API's paths, and those of Vertex AI with a project and without one.
PATH: Final = (
    r"/v1(?:beta|beta1|alpha)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?"
    r"models/(?P<model>[^/]+):(?P<method>generateContent|streamGenerateContent)"
)
_MOST_CANDIDATES: Final = 8
# https://cloud.google.com/apis/design/errors#error_codes
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_DETAIL_TYPE: Final = "type.googleapis.com/google.rpc."
_UNTOUCHED: Final = frozenset({"safetySettings", "labels"})
_CONFIG_UNTOUCHED: Final = frozenset(
    {
        "audioTimestamp",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "logprobs",
        "mediaResolution",
        "presencePenalty",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseSchema",
        "seed",
        "stopSequences",
        "temperature",
        "topK",
        "topP",
    }
)
_SCHEMAS: Final = ("responseSchema", "responseJsonSchema")
# Where a call of one tier may be served, and billed, at another: https://ai.google.dev/gemini-api/docs/priority
_TIERS: Final = {
    "standard": (STANDARD_TIER,),
    "unspecified": (STANDARD_TIER,),
    "flex": ("flex", STANDARD_TIER),
    "priority": ("priority", STANDARD_TIER),
}


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: the path is none of this format's, or something has a wrong type or value, or cannot be metered.
    """
    path = re.fullmatch(PATH, asked.path)
    if path is None:
        raise InvalidRequest("The path must name a model and its method, such as models/NAME:generateContent.")
    streams = path["method"] == "streamGenerateContent"
    is_event_stream = _is_event_stream(asked.query, streams=streams)
    fields = body_fields(body)
    check_fields(fields, "", _CHECKS, untouched=_UNTOUCHED)
    config = fields_of(fields.get("generationConfig"), "generationConfig")
    candidates = config.get("candidateCount") or 1
    if streams and candidates > 1:
        # https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#generationconfig
        raise InvalidRequest("Only one candidate can be streamed.", param="generationConfig.candidateCount")
    budget = fields_of(config.get("thinkingConfig"), "generationConfig.thinkingConfig").get("thinkingBudget")
    bound = None if budget is None or budget < 0 else budget
    return ModelRequest(
        model=unquote(path["model"]),
        prompt=prompt_of(fields, schema_bytes=_schema_bytes(body, config)),
        stream=streams,
        # Every chunk tells the usage, and clients count on it.
        wants_usage=True,
        choices=candidates,
        requested_max_tokens=config.get("maxOutputTokens"),
        thinks=None if bound is None else bound > 0,
        thinking_tokens=bound or 0,
        more_thinking_tokens=bound,
        service_tiers=_TIERS[(fields.get("serviceTier") or STANDARD_TIER).lower()],
        way=path["method"] + ("?alt=sse" if is_event_stream else ""),
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The granted output, in the spelling of the request; the model stands in the path."""
    name = spellings(body.members, "").get("generationConfig", "generationConfig")
    config = body.get(name) or {}
    bound = spellings(config, "").get("maxOutputTokens", "maxOutputTokens")
    return {} if config.get(bound) == granted_max_tokens else {name: config | {bound: granted_max_tokens}}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1beta`."""
    method, _, query = request.way.partition("?")
    return Target(path=f"{base_path.rstrip('/')}/models/{quote(provider_model, safe='')}:{method}", query=query)


def credential_headers(credential: str) -> dict[str, str]:
    """The provider's key where Google looks for it."""
    return {"x-goog-api-key": credential}


def error_body(error: BursarError) -> str:
    """The error as Google writes it, with our code in its details and how long to wait where clients look for it."""
    told = {"code": error.code} | ({} if error.param is None else {"param": error.param})
    reason = {"@type": f"{_DETAIL_TYPE}ErrorInfo", "reason": error.code.upper(), "domain": "bursar"}
    details: list[dict[str, object]] = [reason | {"metadata": told}]
    if error.retry_after_ms is not None:
        details.append({"@type": f"{_DETAIL_TYPE}RetryInfo", "retryDelay": f"{error.retry_after_ms / 1000:g}s"})
    status = _STATUSES.get(error.http_status, "INTERNAL")
    content = {"code": error.http_status, "message": error.message, "status": status, "details": details}
    return json.dumps({"error": content})


def read_answer(answer: Answer) -> Reading:
    """The provider's final usage, or what bounds it."""
    if not answer.is_readable:
        return Reading()
    if answer.is_event_stream:
        return read_events(answer)
    return read_array(answer) if answer.head.lstrip().startswith(b"[") else read_whole(answer)


def _is_event_stream(query: str, *, streams: bool) -> bool:
    """Whether the answer is to come as events. The query itself goes no further: it may hold the caller's key.

    Raises:
        InvalidRequest: it asks for something else, such as an answer without its usage.
    """
    asked = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "key"]
    forms = ("json", "sse") if streams else ("json",)
    for name, value in asked:
        if len(asked) > 1 or name not in ("alt", "$alt") or value not in forms:
            raise InvalidRequest(f"The query's {name[:64]!r} is not available through this gateway.", param=name[:64])
    return any(value == "sse" for _, value in asked)


def _schema_bytes(body: Body, config: Mapping[str, Any]) -> int:
    """What is rendered for the model of tools, and of the form that the answer must have."""
    members = ["tools"] + ["generationConfig"] * any(config.get(name) for name in _SCHEMAS)
    written = [name for camel, name in spellings(body.members, "").items() if camel in members]
    return sum(body.span_bytes(name) for name in written if body.get(name))


def _is_config(value: Any, where: str) -> None:
    check_fields(fields_of(value, where), where, _CONFIG_CHECKS, untouched=_CONFIG_UNTOUCHED)


def _is_thinking(value: Any, where: str) -> None:
    check_fields(fields_of(value, where), where, _THINKING_CHECKS, untouched=frozenset())


def _is_budget(value: Any, where: str) -> None:
    """-1 leaves it to the model, and 0 asks for none."""
    if value not in (-1, 0) or type(value) is not int:
        is_count(MAX_TOKENS)(value, where)


def _are_tools(value: Any, where: str) -> None:
    for index, tool in enumerate(items(value, where)):
        place = f"{where}[{index}]"
        for name in fields_of(tool, place):
            if name != "functionDeclarations":
                raise InvalidRequest(
                    "Tools that run at the provider cannot be metered; only functions that the client runs are "
                    "available through this gateway.",
                    param=place,
                )


def _is_tool_config(value: Any, where: str) -> None:
    check_fields(fields_of(value, where), where, {}, untouched=frozenset({"functionCallingConfig"}))


def _is_tier(value: Any, where: str) -> None:
    is_text(value, where)
    is_one_of(*_TIERS)(value and value.lower(), where)


_CHECKS: Final[Mapping[str, Check]] = {
    "contents": passes,
    "systemInstruction": passes,
    "generationConfig": _is_config,
    "tools": _are_tools,
    "toolConfig": _is_tool_config,
    "serviceTier": _is_tier,
}
_CONFIG_CHECKS: Final[Mapping[str, Check]] = {
    "maxOutputTokens": is_count(MAX_TOKENS),
    "candidateCount": is_count(_MOST_CANDIDATES),
    "thinkingConfig": _is_thinking,
    # Speech and pictures have prices of their own.
    "responseModalities": is_one_of([], ["TEXT"]),
}
_THINKING_CHECKS: Final[Mapping[str, Check]] = {
    "includeThoughts": is_flag,
    "thinkingBudget": _is_budget,
    "thinkingLevel": is_text,
}
