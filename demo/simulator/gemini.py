"""Gemini's generateContent and streamGenerateContent: what is asked for, the answer, and the refusals.

Source: https://ai.google.dev/api/generate-content and https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.answers import wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import ProviderError, invalid
from demo.simulator.form import EVENT_STREAM, Form, bearer, enter_cached
from demo.simulator.tokens import count_tokens, write_tokens

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_JSON = "application/json; charset=UTF-8"
_CONTENT_OVERHEAD_TOKENS = 2
_MOST_CANDIDATES = 8
_ENDS = {True: "MAX_TOKENS", False: "STOP"}


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A request that can be served. A stream comes as events or, without `alt=sse`, as one array."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    most_thought_tokens: int
    candidates: int
    stream: bool
    as_events: bool
    prompt: str


class Generation:
    """One answer, of a text each candidate, and the ways to write it. What is thought is billed beside the maximum."""

    def __init__(self, request: GenerateRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self.choices = request.candidates
        self.thought_tokens = min(behaviour.thought_tokens, request.most_thought_tokens)
        self.content_type = EVENT_STREAM if request.as_events else _JSON
        self._end = _ENDS[wanted >= request.max_output_tokens]
        self._request = request
        self._call = call
        self._texts = [write_tokens(self.tokens, seed=f"{index} {request.prompt}") for index in range(self.choices)]

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        candidates = [_candidate("".join(words), index, self._end) for index, words in enumerate(self._texts)]
        return self._chunk(candidates)

    def opening(self) -> bytes:
        return b"" if self._request.as_events else b"["

    def words(self) -> Iterator[bytes]:
        """One chunk a token; each tells the usage so far."""
        [words] = self._texts
        for word in words:
            chunk = self._chunk([_candidate(word, 0, None)])
            yield self._framed(chunk) if self._request.as_events else self._framed(chunk) + b"\n,\r\n"

    def closing(self) -> bytes:
        chunk = self._framed(self._chunk([_candidate("", 0, self._end)]))
        return chunk if self._request.as_events else chunk + b"\n]"

    def _framed(self, chunk: dict[str, Any]) -> bytes:
        if self._request.as_events:
            return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\r\n\r\n"
        return json.dumps(chunk, ensure_ascii=False, indent=2).encode()

    def _chunk(self, candidates: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "candidates": candidates,
            "usageMetadata": self._usage(),
            "modelVersion": self._request.model.snapshot,
            "responseId": self._call.id,
        }

    def _usage(self) -> dict[str, Any]:
        """The call's counts from the books; Google leaves out those that are zero."""
        call, thought_tokens = self._call, self.thought_tokens * self.choices
        counts = {
            "promptTokenCount": call.input_tokens,
            "cachedContentTokenCount": call.cache_read_tokens,
            "candidatesTokenCount": call.output_tokens - thought_tokens,
            "thoughtsTokenCount": thought_tokens,
            "totalTokenCount": call.input_tokens + call.output_tokens,
        }
        details = [{"modality": "TEXT", "tokenCount": call.input_tokens}]
        return {name: count for name, count in counts.items() if count} | {"promptTokensDetails": details}


def _read(body: dict[str, Any], model: DemoModel, request: web.Request) -> GenerateRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: Google would refuse it with status 400.
    """
    contents, config = body.get("contents"), _either(body, "generationConfig", "generation_config") or {}
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")
    most = _either(config, "maxOutputTokens", "max_output_tokens") or model.max_output_tokens
    if not 1 <= most <= model.max_output_tokens:
        raise invalid(f"The maxOutputTokens parameter must be from 1 to {model.max_output_tokens}, but was {most}.")
    candidates = _either(config, "candidateCount", "candidate_count") or 1
    if not 1 <= candidates <= _MOST_CANDIDATES:
        raise invalid(f"The candidateCount parameter must be from 1 to {_MOST_CANDIDATES}.")
    thinking = _either(config, "thinkingConfig", "thinking_config") or {}
    budget = _either(thinking, "thinkingBudget", "thinking_budget")
    described = [body[name] for name in ("systemInstruction", "system_instruction", "tools") if body.get(name)]
    prompt = json.dumps([described, contents], ensure_ascii=False)
    streams = request.match_info["method"] == "streamGenerateContent"
    return GenerateRequest(
        model=model,
        input_tokens=count_tokens(prompt) + _CONTENT_OVERHEAD_TOKENS * len(contents),
        max_output_tokens=most,
        most_thought_tokens=budget if budget is not None and budget >= 0 else model.max_output_tokens,
        candidates=candidates,
        stream=streams,
        as_events=streams and request.query.get("alt") == "sse",
        prompt=prompt,
    )


def _either(members: dict[str, Any], camel: str, snake: str) -> Any:
    """A member in whichever of its two spellings it came."""
    return members.get(camel, members.get(snake))


def _candidate(text: str, index: int, end: str | None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": index}
    return candidate if end is None else candidate | {"finishReason": end}


def _error_body(error: ProviderError) -> dict[str, Any]:
    status = _STATUSES.get(error.status, "INTERNAL")
    return {"error": {"code": error.status, "message": error.message, "status": status}}


def _headers(status: int) -> dict[str, str]:
    return {"server": "scaffolding on HTTPServer2", "x-frame-options": "SAMEORIGIN"}


GEMINI = Form(
    protocol="gemini",
    account=lambda request: request.headers.get("x-goog-api-key") or bearer(request),
    call_id=lambda: secrets.token_urlsafe(17),
    read=_read,
    answer=Generation,
    error_body=_error_body,
    headers=_headers,
    enter=enter_cached,
)
