"""OpenAI's legacy completions, whole and as a stream of server-sent events.

Source: https://developers.openai.com/api/reference/resources/completions/methods/create
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.answers import DONE, openai_form, usage_of, wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM
from demo.simulator.tokens import count_tokens, write_tokens

_DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request that can be served: `best_of` answers are written to each prompt, of which `shown` are sent."""

    model: DemoModel
    prompts: list[str]
    input_tokens: int
    max_output_tokens: int
    shown: int
    best_of: int
    stream: bool
    include_usage: bool


class TextCompletion:
    """One answer: `choices` are all that are written, and so billed."""

    content_type = EVENT_STREAM
    thought_tokens = 0

    def __init__(self, request: CompletionRequest, call: Call, behaviour: Behaviour) -> None:
        prompt = "".join(request.prompts)
        wanted = wanted_tokens(prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self.choices = request.best_of * len(request.prompts)
        self._finish_reason = "length" if wanted >= request.max_output_tokens else "stop"
        self._request = request
        self._call = call
        self._created = int(time.time())
        shown = request.shown * len(request.prompts)
        self._texts = [write_tokens(self.tokens, seed=f"{index} {prompt}") for index in range(shown)]

    def whole(self) -> dict[str, Any]:
        choices = [self._choice(index, "".join(words), self._finish_reason) for index, words in enumerate(self._texts)]
        return self._document(choices) | {"usage": usage_of(self._call)}

    def opening(self) -> bytes:
        return b""

    def words(self) -> Iterator[bytes]:
        """One event a token, the choices in turn."""
        for position in range(self.tokens):
            for index, words in enumerate(self._texts):
                yield self._event([self._choice(index, words[position], None)])

    def closing(self) -> bytes:
        ends = [self._event([self._choice(index, "", self._finish_reason)]) for index in range(len(self._texts))]
        if self._request.include_usage:
            ends.append(self._event([], usage_of(self._call)))
        return b"".join([*ends, DONE])

    def _choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}

    def _document(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self._call.id, "object": "text_completion", "created": self._created}
        return head | {"model": self._request.model.snapshot, "choices": choices}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = self._document(choices) | ({"usage": usage} if self._request.include_usage else {})
        return b"data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _read(body: dict[str, Any], model: DemoModel) -> CompletionRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: OpenAI would refuse it with status 400.
    """
    value = body.get("prompt", "<|endoftext|>")
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise invalid("Invalid type for 'prompt': the simulator reads texts.", "prompt")
    shown = body.get("n") or 1
    best_of = body.get("best_of") or shown
    if best_of < shown or (best_of > shown and body.get("stream")):
        raise invalid("best_of must be at least n, and equal to it in a stream.", "best_of")
    options = body.get("stream_options") or {}
    return CompletionRequest(
        model=model,
        prompts=prompts,
        input_tokens=sum(count_tokens(prompt + (body.get("suffix") or ""), "cl100k_base") for prompt in prompts),
        max_output_tokens=min(body.get("max_tokens") or _DEFAULT_MAX_TOKENS, model.max_output_tokens),
        shown=shown,
        best_of=best_of,
        stream=body.get("stream") is True,
        include_usage=options.get("include_usage") is True,
    )


COMPLETIONS = openai_form("openai_completions", _read, TextCompletion)
