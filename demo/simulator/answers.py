"""Chat completions as OpenAI sends them, whole and as a stream of server-sent events.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.books import Behaviour, Call
from demo.simulator.form import EVENT_STREAM, Asked, Form, Writing, bearer, enter_cached
from demo.simulator.requests import ChatRequest, read_chat_request
from demo.simulator.tokens import write_tokens

DONE = b"data: [DONE]\n\n"


class Completion:
    """One answer: the tokens of each choice, and the ways to write them."""

    content_type = EVENT_STREAM
    thought_tokens = 0

    def __init__(self, request: ChatRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.finish_reason = "length" if wanted >= request.max_output_tokens else "stop"
        self.tokens = min(wanted, request.max_output_tokens)
        self.choices = request.choices
        self._request = request
        self._call = call
        self._head = {
            "id": call.id,
            "created": int(time.time()),
            "model": request.model.snapshot,
            "service_tier": "default",
            "system_fingerprint": f"fp_{hashlib.sha256(request.model.snapshot.encode()).hexdigest()[:10]}",
        }
        self._texts = [write_tokens(self.tokens, seed=f"{index} {request.prompt}") for index in range(request.choices)]

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        choices = [self._choice(index, "".join(words)) for index, words in enumerate(self._texts)]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage_of(self._call)}

    def opening(self) -> bytes:
        """The events with which each choice begins."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._event(index, delta) for index in range(self._request.choices))

    def words(self) -> Iterator[bytes]:
        """One event a token, the choices in turn."""
        for position in range(self.tokens):
            for index, words in enumerate(self._texts):
                yield self._event(index, {"content": words[position]})

    def closing(self) -> bytes:
        """The events that end each choice, the usage if it was asked for, and the end mark."""
        ends = [self._event(index, {}, self.finish_reason) for index in range(self._request.choices)]
        if self._request.include_usage:
            ends.append(self._chunk([], usage_of(self._call)))
        return b"".join([*ends, DONE])

    def _choice(self, index: int, content: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": self.finish_reason}

    def _event(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        if self._request.include_usage:
            chunk["usage"] = usage
        return b"data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def usage_of(call: Call) -> dict[str, Any]:
    """The `usage` object of a call, from the books."""
    return {
        "prompt_tokens": call.input_tokens,
        "completion_tokens": call.output_tokens,
        "total_tokens": call.input_tokens + call.output_tokens,
        "prompt_tokens_details": {"cached_tokens": call.cache_read_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def wanted_tokens(prompt: str, most_tokens: int, behaviour: Behaviour) -> int:
    """How long an answer would be: as the behaviour says, or as the prompt decides."""
    if behaviour.output_tokens == "max":
        return most_tokens
    if behaviour.output_tokens is not None:
        return behaviour.output_tokens
    digest = hashlib.sha256(prompt.encode()).digest()
    return 30 + int.from_bytes(digest[:2], "big") % 90


def _headers(status: int) -> dict[str, str]:
    """Headers of every OpenAI answer, https://platform.openai.com/docs/api-reference/debugging-requests"""
    headers = {
        "x-request-id": f"req_{secrets.token_hex(16)}",
        "openai-organization": "simulator",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "30000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "29999000",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }
    return headers | ({"retry-after": "1"} if status == 429 else {})


def openai_form(
    protocol: str, read: Callable[[dict[str, Any], DemoModel], Asked], answer: Callable[[Any, Call, Behaviour], Writing]
) -> Form:
    """One of OpenAI's wire formats, which share the key, the headers and the refusals."""
    return Form(
        protocol=protocol,
        account=bearer,
        call_id=lambda: f"chatcmpl-{secrets.token_hex(15)}",
        read=lambda body, model, _request: read(body, model),
        answer=answer,
        error_body=lambda error: error.body(),
        headers=_headers,
        enter=enter_cached,
    )


CHAT = openai_form("openai_chat", read_chat_request, Completion)
