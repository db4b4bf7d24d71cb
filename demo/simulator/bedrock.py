"""Bedrock's Converse, and InvokeModel for Anthropic's models: what is asked for, the answer, and the refusals.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator import aws
from demo.simulator.answers import wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import ProviderError, invalid
from demo.simulator.eventstream import CONTENT_TYPE, event
from demo.simulator.form import Form
from demo.simulator.messages import Message, MessageRequest, enter_kept, read_message
from demo.simulator.tokens import count_tokens, write_tokens

_MESSAGE_OVERHEAD_TOKENS = 4
_INVOKE_VERSION = "bedrock-2023-05-31"
_ERROR_TYPES = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


@dataclass(frozen=True, slots=True)
class ConverseRequest:
    """A request that can be served. `kept` are the times for which it asks the cache to keep some of it."""

    model: DemoModel
    input_tokens: int
    max_output_tokens: int
    stream: bool
    prompt: str
    kept: frozenset[str]


class Conversation:
    """One answer, of one text, and the ways to write it."""

    content_type = CONTENT_TYPE
    thought_tokens = 0
    choices = 1

    def __init__(self, request: ConverseRequest, call: Call, behaviour: Behaviour) -> None:
        wanted = wanted_tokens(request.prompt, request.max_output_tokens, behaviour)
        self.tokens = min(wanted, request.max_output_tokens)
        self._stop_reason = "max_tokens" if wanted >= request.max_output_tokens else "end_turn"
        self._call = call
        self._words = write_tokens(self.tokens, seed=request.prompt)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed; the call's tokens must have been entered."""
        message = {"content": [{"text": "".join(self._words)}], "role": "assistant"}
        return {
            "metrics": {"latencyMs": 401},
            "output": {"message": message},
            "stopReason": self._stop_reason,
            "usage": self._usage(),
        }

    def opening(self) -> bytes:
        return event("messageStart", role="assistant")

    def words(self) -> Iterator[bytes]:
        """One event a token."""
        for word in self._words:
            yield event("contentBlockDelta", contentBlockIndex=0, delta={"text": word})

    def closing(self) -> bytes:
        return b"".join(
            [
                event("contentBlockStop", contentBlockIndex=0),
                event("messageStop", stopReason=self._stop_reason),
                event("metadata", metrics={"latencyMs": 401}, usage=self._usage()),
            ]
        )

    def _usage(self) -> dict[str, Any]:
        """The `usage` object of the call, from the books: Bedrock counts what is cached beside the input."""
        call = self._call
        kept = {"1h": call.cache_write_1h_tokens, "5m": call.cache_write_tokens}
        written = sum(kept.values())
        return {
            "cacheDetails": [{"inputTokens": tokens, "ttl": ttl} for ttl, tokens in kept.items() if tokens],
            "cacheReadInputTokens": call.cache_read_tokens,
            "cacheWriteInputTokens": written,
            "inputTokens": call.input_tokens - call.cache_read_tokens - written,
            "outputTokens": call.output_tokens,
            "totalTokens": call.input_tokens + call.output_tokens,
        }


class Invocation(Message):
    """One answer of an Anthropic model, whose stream lies in Bedrock's events."""

    content_type = CONTENT_TYPE

    def opening(self) -> bytes:
        return self._wrapped(super().opening())

    def words(self) -> Iterator[bytes]:
        return (self._wrapped(word) for word in super().words())

    def closing(self) -> bytes:
        return self._wrapped(super().closing())

    def _wrapped(self, events: bytes) -> bytes:
        data = (json.loads(each.partition(b"data: ")[2]) for each in events.split(b"\n\n") if each)
        return b"".join(self._chunk(each) for each in data if each["type"] != "ping")

    def _chunk(self, members: dict[str, Any]) -> bytes:
        if members["type"] == "message_stop":
            counts = {f"{name}TokenCount": count for name, count in _counts(self._call).items()}
            members |= {"amazon-bedrock-invocationMetrics": {**counts, "invocationLatency": 401}}
        return event("chunk", bytes=base64.b64encode(json.dumps(members).encode()).decode())


def _read_converse(body: dict[str, Any], model: DemoModel, request: web.Request) -> ConverseRequest:
    """Check a request and count its tokens.

    Raises:
        ProviderError: Bedrock would refuse it with status 400.
    """
    most = (body.get("inferenceConfig") or {}).get("maxTokens", model.max_output_tokens)
    messages = body.get("messages")
    if type(most) is not int or not 1 <= most <= model.max_output_tokens:
        raise invalid("The maximum tokens you requested exceeds the model limit or is none.")
    if not isinstance(messages, list) or not messages:
        raise invalid("A conversation must start with a user message.")
    described = [body[name] for name in ("system", "toolConfig") if body.get(name)]
    text = json.dumps([described, messages], ensure_ascii=False)
    return ConverseRequest(
        model=model,
        input_tokens=count_tokens(text) + _MESSAGE_OVERHEAD_TOKENS * len(messages),
        max_output_tokens=most,
        stream=request.match_info["operation"] == "converse-stream",
        prompt=text,
        kept=frozenset(_kept(body)),
    )


def _read_invocation(body: dict[str, Any], model: DemoModel, request: web.Request) -> MessageRequest:
    if body.get("anthropic_version") != _INVOKE_VERSION:
        raise invalid("anthropic_version: Field required")
    return read_message(body, model, stream=request.match_info["operation"] != "invoke")


def _kept(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("cachePoint"), dict):
            yield value["cachePoint"].get("ttl", "5m")
        for item in value.values():
            yield from _kept(item)
    elif isinstance(value, list):
        for item in value:
            yield from _kept(item)


def _counts(call: Call) -> dict[str, int]:
    """The counts of an invocation, from the books, by the first half of their names in a stream."""
    written = call.cache_write_tokens + call.cache_write_1h_tokens
    return {
        "input": call.input_tokens - call.cache_read_tokens - written,
        "output": call.output_tokens,
        "cacheReadInput": call.cache_read_tokens,
        "cacheWriteInput": written,
    }


def _told(call: Call) -> dict[str, str]:
    names = ("Input", "Output", "Cache-Read-Input", "Cache-Write-Input")
    counts = zip(names, _counts(call).values(), strict=True)
    return {f"X-Amzn-Bedrock-{name}-Token-Count": str(count) for name, count in counts}


def _headers(status: int) -> dict[str, str]:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    return (
        headers
        if status == 200
        else headers | {"x-amzn-ErrorType": _ERROR_TYPES.get(status, "InternalServerException")}
    )


def _error_body(error: ProviderError) -> dict[str, Any]:
    return {"message": error.message}


CONVERSE = Form(
    protocol="bedrock_converse",
    account=aws.account_of,
    call_id=lambda: f"converse_{secrets.token_hex(12)}",
    read=_read_converse,
    answer=Conversation,
    error_body=_error_body,
    headers=_headers,
    enter=enter_kept,
    verify=aws.verify,
)
INVOKE = Form(
    protocol="bedrock_invoke",
    account=aws.account_of,
    call_id=lambda: f"msg_bdrk_{secrets.token_hex(12)}",
    read=_read_invocation,
    answer=Invocation,
    error_body=_error_body,
    headers=_headers,
    enter=enter_kept,
    verify=aws.verify,
    told=_told,
)
