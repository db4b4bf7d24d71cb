"""Cohere's chat, version 2: what is asked for, the answer, whole and as a stream, and the refusals.

Source: https://docs.cohere.com/v2/reference/chat and /chat-stream
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.answers import wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM, Form, bearer
from demo.simulator.tokens import count_tokens, write_tokens

# What Cohere writes before every prompt; it is counted and not billed.
_PREAMBLE_TOKENS = 495
_MESSAGE_OVERHEAD_TOKENS = 2


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that can be served."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    stream: bool
    prompt: str


class Chat:
    """One answer, of one text, and the ways to write it."""

    content_type = EVENT_STREAM
    thought_tokens = 0
    choices = 1

    def __init__(self, request: ChatRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self._end = "MAX_TOKENS" if wanted >= request.max_output_tokens else "COMPLETE"
        self._call = call
        self._words = write_tokens(self.tokens, seed=request.prompt)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        message = {"role": "assistant", "content": [{"type": "text", "text": "".join(self._words)}]}
        return {"id": self._call.id, "message": message, "finish_reason": self._end, "usage": self._usage()}

    def opening(self) -> bytes:
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        started = _event("message-start", id=self._call.id, delta={"message": message})
        content = {"type": "text", "text": ""}
        return started + _event("content-start", index=0, delta={"message": {"content": content}})

    def words(self) -> Iterator[bytes]:
        """One event a token."""
        for word in self._words:
            yield _event("content-delta", index=0, delta={"message": {"content": {"text": word}}})

    def closing(self) -> bytes:
        end = {"finish_reason": self._end, "usage": self._usage()}
        return _event("content-end", index=0) + _event("message-end", id=self._call.id, delta=end)

    def _usage(self) -> dict[str, Any]:
        """The call's counts from the books, as the numbers with a fraction that Cohere's are by their type."""
        call = self._call
        read, written = float(call.input_tokens), float(call.output_tokens)
        return {
            "billed_units": {"input_tokens": read, "output_tokens": written},
            "tokens": {"input_tokens": read + _PREAMBLE_TOKENS, "output_tokens": written},
            "cached_tokens": 0.0,
        }


def _read(body: dict[str, Any], model: DemoModel, _request: web.Request) -> ChatRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: Cohere would refuse it with status 400.
    """
    messages, most = body.get("messages"), body.get("max_tokens") or model.max_output_tokens
    if not isinstance(messages, list) or not messages:
        raise invalid("invalid request: messages must not be empty")
    if not 1 <= most <= model.max_output_tokens:
        raise invalid(f"too many tokens: max_tokens must be at most {model.max_output_tokens}")
    described = [body[name] for name in ("tools", "documents") if body.get(name)]
    prompt = json.dumps([described, messages], ensure_ascii=False)
    return ChatRequest(
        model=model,
        input_tokens=count_tokens(prompt) + _MESSAGE_OVERHEAD_TOKENS * len(messages),
        max_output_tokens=most,
        stream=body.get("stream") is True,
        prompt=prompt,
    )


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members}, ensure_ascii=False)}\n\n".encode()


COHERE = Form(
    protocol="cohere_chat",
    account=bearer,
    call_id=lambda: str(uuid.uuid4()),
    read=_read,
    answer=Chat,
    error_body=lambda error: {"id": str(uuid.uuid4()), "message": error.message},
    headers=lambda _status: {"x-endpoint-monthly-call-limit": "1000", "x-trial-endpoint-call-remaining": "39"},
    enter=lambda _call, _asked, _behaviour: None,
)
