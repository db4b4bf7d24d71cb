"""OpenAI's embeddings: vectors that only depend on what was embedded.

Source: https://developers.openai.com/api/reference/resources/embeddings/methods/create
"""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.answers import openai_form
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM
from demo.simulator.tokens import count_tokens

_DIMENSIONS = 1536
_MOST_INPUTS = 2048


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A request that can be served."""

    model: DemoModel
    inputs: list[str | list[int]]
    input_tokens: int
    dimensions: int
    in_base64: bool
    stream: bool = False


class Embeddings:
    """One answer; it has no tokens of its own."""

    content_type = EVENT_STREAM
    thought_tokens = 0
    tokens = 0
    choices = 1

    def __init__(self, request: EmbeddingRequest, call: Call, behaviour: Behaviour) -> None:
        self._request = request
        self._call = call

    def whole(self) -> dict[str, Any]:
        rows = [
            {"object": "embedding", "index": index, "embedding": self._vector(str(text))}
            for index, text in enumerate(self._request.inputs)
        ]
        read_tokens = self._call.input_tokens
        usage = {"prompt_tokens": read_tokens, "total_tokens": read_tokens}
        return {"object": "list", "data": rows, "model": self._request.model.snapshot, "usage": usage}

    def opening(self) -> bytes:
        return b""

    def words(self) -> Iterator[bytes]:
        yield from ()

    def closing(self) -> bytes:
        return b""

    def _vector(self, seed: str) -> str | list[float]:
        numbers = [round(random.Random(seed).uniform(-1, 1), 6)] * self._request.dimensions
        if not self._request.in_base64:
            return numbers
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _read(body: dict[str, Any], model: DemoModel) -> EmbeddingRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: OpenAI would refuse it with status 400.
    """
    value = body.get("input")
    one = isinstance(value, str) or (isinstance(value, list) and all(type(item) is int for item in value))
    inputs = [value] if one else value
    if not isinstance(inputs, list) or not inputs or len(inputs) > _MOST_INPUTS:
        raise invalid("'$.input' is invalid. Please check the API reference.", "input")
    counts = [len(text) if isinstance(text, list) else count_tokens(text, "cl100k_base") for text in inputs]
    if max(counts) > model.context_window_tokens or 0 in counts:
        raise invalid(f"This model's maximum context length is {model.context_window_tokens} tokens.", "input")
    return EmbeddingRequest(
        model=model,
        inputs=inputs,
        input_tokens=sum(counts),
        dimensions=body.get("dimensions") or _DIMENSIONS,
        in_base64=body.get("encoding_format") == "base64",
    )


EMBEDDINGS = openai_form("openai_embeddings", _read, Embeddings)
