"""OpenAI's responses: what is asked for, and the answer, whole and as a stream of events.

Source: https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.answers import openai_form, wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM
from demo.simulator.tokens import count_tokens, write_tokens

_ITEM_OVERHEAD_TOKENS = 3
_REPLY_OVERHEAD_TOKENS = 3
_LEAST_OUTPUT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A request that can be served. `function` is the tool that the answer is to call, if any."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    stream: bool
    prompt: str
    function: str | None
    asked: dict[str, Any]


class Response:
    """One answer, of one text or one call of a function, and the ways to write it."""

    content_type = EVENT_STREAM
    thought_tokens = 0
    choices = 1

    def __init__(self, request: ResponseRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self._is_cut = wanted >= request.max_output_tokens
        self._request = request
        self._call = call
        self._number = -1
        self._created_at = int(time.time())
        self._words = write_tokens(self.tokens, seed=request.prompt)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        return self._response("incomplete" if self._is_cut else "completed", [self._item(done=True)])

    def opening(self) -> bytes:
        begun = self._response("in_progress", [])
        return b"".join(
            [
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
                self._event("response.output_item.added", output_index=0, item=self._item(done=False)),
                *self._part("response.content_part.added", ""),
            ]
        )

    def words(self) -> Iterator[bytes]:
        """One event a token."""
        kind = "function_call_arguments" if self._request.function else "output_text"
        for word in self._words:
            yield self._event(f"response.{kind}.delta", item_id="item_1", output_index=0, content_index=0, delta=word)

    def closing(self) -> bytes:
        item = self._item(done=True)
        end = "incomplete" if self._is_cut else "completed"
        return b"".join(
            [
                *self._part("response.content_part.done", "".join(self._words)),
                self._event("response.output_item.done", output_index=0, item=item),
                self._event(f"response.{end}", response=self._response(end, [item])),
            ]
        )

    def _item(self, *, done: bool) -> dict[str, Any]:
        text = "".join(self._words) if done else ""
        status = "completed" if done else "in_progress"
        if self._request.function is not None:
            arguments = json.dumps({"note": text}) if done else ""
            name = self._request.function
            item = {"type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments}
            return {"id": "item_1", "status": status, **item}
        content = [_text_part(text)] if done else []
        return {"id": "item_1", "status": status, "type": "message", "role": "assistant", "content": content}

    def _part(self, kind: str, text: str) -> list[bytes]:
        """The event with which the answer's only part of text begins or ends, if it has one."""
        if self._request.function is not None:
            return []
        return [self._event(kind, item_id="item_1", output_index=0, content_index=0, part=_text_part(text))]

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The members in the order in which OpenAI writes them."""
        asked = self._request.asked
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._call.id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": incomplete,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "model": self._request.model.snapshot,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": asked.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": asked.get("store", True),
            "temperature": 1.0,
            "text": asked.get("text") or {"format": {"type": "text"}},
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": asked.get("tools") or [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None if status == "in_progress" else self._usage(),
            "user": None,
            "metadata": asked.get("metadata") or {},
        }

    def _usage(self) -> dict[str, Any]:
        call = self._call
        return {
            "input_tokens": call.input_tokens,
            "input_tokens_details": {"cached_tokens": call.cache_read_tokens, "cache_write_tokens": 0},
            "output_tokens": call.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": call.input_tokens + call.output_tokens,
        }

    def _event(self, kind: str, **members: Any) -> bytes:
        self._number += 1
        document = {"type": kind, "sequence_number": self._number, **members}
        data = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        return f"event: {kind}\ndata: {data}\n\n".encode()


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _read(body: dict[str, Any], model: DemoModel) -> ResponseRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: OpenAI would refuse it with status 400.
    """
    items = body.get("input")
    if not isinstance(items, str | list) or not items:
        raise invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    most = body.get("max_output_tokens")
    if most is not None and (type(most) is not int or most < _LEAST_OUTPUT_TOKENS):
        raise invalid(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {_LEAST_OUTPUT_TOKENS}, "
            f"but got {most} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    described = [body[name] for name in ("instructions", "tools", "text") if body.get(name)]
    prompt = json.dumps([described, items], ensure_ascii=False)
    overhead_tokens = _REPLY_OVERHEAD_TOKENS + _ITEM_OVERHEAD_TOKENS * (len(items) if isinstance(items, list) else 1)
    return ResponseRequest(
        model=model,
        input_tokens=count_tokens(_read_by_model(described, items)) + overhead_tokens,
        max_output_tokens=min(most or model.max_output_tokens, model.max_output_tokens),
        stream=body.get("stream") is True,
        prompt=prompt,
        function=_function_of(body),
        asked=body,
    )


def _read_by_model(described: list[Any], items: str | list[Any]) -> str:
    """All that the model reads, as text; a text by itself without quotes around it."""
    parts = [*described, *([items] if isinstance(items, str) else items)]
    return "".join(part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts)


def _function_of(body: dict[str, Any]) -> str | None:
    """The function that the answer calls: the first one, where one is asked for."""
    names = [tool["name"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    return names[0] if names and body.get("tool_choice") == "required" else None


RESPONSES = openai_form("openai_responses", _read, Response)
