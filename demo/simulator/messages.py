"""Anthropic's Messages: what is asked for, the answer, whole and as a stream, and the refusals.

Source: https://docs.anthropic.com/en/api/messages, /messages-streaming and /errors
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
from demo.simulator.form import EVENT_STREAM, Form, bearer
from demo.simulator.tokens import count_tokens, write_tokens

_MESSAGE_OVERHEAD_TOKENS = 4
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A request that can be served. `kept` are the times for which it asks the cache to keep some of it."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    stream: bool
    prompt: str
    kept: frozenset[str]


class Message:
    """One answer, of one text, and the ways to write it."""

    content_type = EVENT_STREAM
    thought_tokens = 0
    choices = 1

    def __init__(self, request: MessageRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self._stop_reason = "max_tokens" if wanted >= request.max_output_tokens else "end_turn"
        self._call = call
        self._head = {"model": request.model.snapshot, "id": call.id, "type": "message", "role": "assistant"}
        self._words = write_tokens(self.tokens, seed=request.prompt)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        text = {"type": "text", "text": "".join(self._words)}
        stop = {"stop_reason": self._stop_reason, "stop_sequence": None}
        return {**self._head, "content": [text], **stop, "usage": self._usage(self._call.output_tokens)}

    def opening(self) -> bytes:
        message: dict[str, Any] = {
            **self._head,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(1),
        }
        return b"".join(
            [
                _event("message_start", message=message),
                _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
                _event("ping"),
            ]
        )

    def words(self) -> Iterator[bytes]:
        """One event a token."""
        for word in self._words:
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})

    def closing(self) -> bytes:
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        told = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        usage = self._usage(self._call.output_tokens)
        return b"".join(
            [
                _event("content_block_stop", index=0),
                _event("message_delta", delta=delta, usage={name: usage[name] for name in told}),
                _event("message_stop"),
            ]
        )

    def _usage(self, output_tokens: int) -> dict[str, Any]:
        """The `usage` object of the call, from the books: Anthropic counts what is cached beside the input."""
        call = self._call
        minutes_tokens, hour_tokens = call.cache_write_tokens, call.cache_write_1h_tokens
        return {
            "input_tokens": call.input_tokens - call.cache_read_tokens - minutes_tokens - hour_tokens,
            "cache_creation_input_tokens": minutes_tokens + hour_tokens,
            "cache_read_input_tokens": call.cache_read_tokens,
            "cache_creation": {"ephemeral_5m_input_tokens": minutes_tokens, "ephemeral_1h_input_tokens": hour_tokens},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


def _read(body: dict[str, Any], model: DemoModel, request: web.Request) -> MessageRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: Anthropic would refuse it with status 400.
    """
    if "anthropic-version" not in request.headers:
        raise invalid("anthropic-version: header is required")
    return read_message(body, model, stream=body.get("stream") is True)


def read_message(body: dict[str, Any], model: DemoModel, *, stream: bool) -> MessageRequest:
    """Check a request's body and count its tokens.

    Raises:
        ProviderError: Anthropic would refuse it with status 400.
    """
    most, messages = body.get("max_tokens"), body.get("messages")
    if type(most) is not int or most < 1:
        raise invalid("max_tokens: Field required")
    if most > model.max_output_tokens:
        raise invalid(f"max_tokens: {most} > {model.max_output_tokens}, which is the maximum allowed number of tokens")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required")
    thinking = body.get("thinking") or {}
    if thinking.get("budget_tokens", 0) >= most:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
    described = [body[name] for name in ("system", "tools") if body.get(name)]
    text = json.dumps([described, messages], ensure_ascii=False)
    input_tokens = count_tokens(text) + _MESSAGE_OVERHEAD_TOKENS * len(messages)
    if input_tokens + most > model.context_window_tokens:
        raise invalid("input length and `max_tokens` exceed context limit")
    return MessageRequest(
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=most,
        stream=stream,
        prompt=text,
        kept=frozenset(_kept(body)),
    )


def enter_kept(call: Call, request: MessageRequest, behaviour: Behaviour) -> None:
    """Enter what the cache reads, and writes for as long as was asked: for the longer time first."""
    call.cache_read_tokens = min(behaviour.cache_read_tokens, request.input_tokens) if request.kept else 0
    written_tokens = min(behaviour.cache_write_tokens, request.input_tokens - call.cache_read_tokens)
    if "1h" in request.kept:
        call.cache_write_1h_tokens = written_tokens if "5m" not in request.kept else written_tokens // 2
    if "5m" in request.kept:
        call.cache_write_tokens = written_tokens - call.cache_write_1h_tokens


def _error_body(error: ProviderError) -> dict[str, Any]:
    """A refusal in Anthropic's shape."""
    kind = _ERROR_TYPES.get(error.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": error.message},
        "request_id": f"req_{secrets.token_hex(12)}",
    }


def _kept(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("cache_control"), dict):
            yield value["cache_control"].get("ttl", "5m")
        for item in value.values():
            yield from _kept(item)
    elif isinstance(value, list):
        for item in value:
            yield from _kept(item)


def _event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _headers(status: int) -> dict[str, str]:
    """Headers of every Anthropic answer, https://docs.anthropic.com/en/api/rate-limits#response-headers"""
    headers = {
        "request-id": f"req_{secrets.token_hex(12)}",
        "anthropic-organization-id": "simulator",
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
    }
    return headers | ({"retry-after": "1"} if status == 429 else {})


MESSAGES = Form(
    protocol="anthropic_messages",
    account=lambda request: request.headers.get("x-api-key") or bearer(request),
    call_id=lambda: f"msg_{secrets.token_hex(12)}",
    read=_read,
    answer=Message,
    error_body=_error_body,
    headers=_headers,
    enter=enter_kept,
)
