"""Ollama's own chat and completion: what is asked for, the answer, whole and line by line, and the refusals.

Source: https://docs.ollama.com/api
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.answers import wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import Form, bearer
from demo.simulator.tokens import count_tokens, write_tokens

_MESSAGE_OVERHEAD_TOKENS = 4


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that can be served; `is_chat` says which of the two paths it came by."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    stream: bool
    is_chat: bool
    prompt: str


class Lines:
    """One answer, of one text, and the ways to write it: a stream has a JSON document a line."""

    content_type = "application/x-ndjson"
    thought_tokens = 0
    choices = 1

    def __init__(self, request: ChatRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self._end = "length" if wanted >= request.max_output_tokens else "stop"
        self._request = request
        self._call = call
        self._words = write_tokens(self.tokens, seed=request.prompt)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        return self._piece("".join(self._words)) | self._counts()

    def opening(self) -> bytes:
        return b""

    def words(self) -> Iterator[bytes]:
        """One line a token."""
        for word in self._words:
            yield _line(self._piece(word) | {"done": False})

    def closing(self) -> bytes:
        return _line(self._piece("") | self._counts())

    def _piece(self, text: str) -> dict[str, Any]:
        head = {"model": self._request.model.snapshot, "created_at": datetime.now(UTC).isoformat()}
        said = {"message": {"role": "assistant", "content": text}} if self._request.is_chat else {"response": text}
        return head | said

    def _counts(self) -> dict[str, Any]:
        """The end of an answer with the call's counts from the books; durations are in nanoseconds."""
        return {
            "done": True,
            "done_reason": self._end,
            "total_duration": 5_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": self._call.input_tokens,
            "prompt_eval_duration": 1_000_000,
            "eval_count": self._call.output_tokens,
            "eval_duration": 3_000_000,
        }


def _read(body: dict[str, Any], model: DemoModel, request: web.Request) -> ChatRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: Ollama would refuse it with status 400.
    """
    is_chat = request.match_info["method"] == "chat"
    read = body.get("messages" if is_chat else "prompt")
    if not read:
        raise invalid("nothing to answer")
    most = (body.get("options") or {}).get("num_predict", model.max_output_tokens)
    described = [body[name] for name in ("system", "suffix", "tools", "format") if body.get(name)]
    prompt = json.dumps([described, read], ensure_ascii=False)
    return ChatRequest(
        model=model,
        input_tokens=count_tokens(prompt) + _MESSAGE_OVERHEAD_TOKENS * (len(read) if is_chat else 1),
        max_output_tokens=most if 1 <= most <= model.max_output_tokens else model.max_output_tokens,
        stream=body.get("stream") is not False,
        is_chat=is_chat,
        prompt=prompt,
    )


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


OLLAMA = Form(
    protocol="ollama_chat",
    account=bearer,
    call_id=lambda: secrets.token_hex(8),
    read=_read,
    answer=Lines,
    error_body=lambda error: {"error": error.message},
    headers=lambda _status: {},
    enter=lambda _call, _asked, _behaviour: None,
)
