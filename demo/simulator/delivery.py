"""Sends an answer at the pace that the account's behaviour asks for, entering every token before it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Protocol

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.books import Behaviour, Call


class Request(Protocol):
    """What a request of any wire format says."""

    @property
    def model(self) -> DemoModel: ...

    @property
    def stream(self) -> bool: ...

    @property
    def input_tokens(self) -> int: ...


class Written(Protocol):
    """An answer in any wire format: `tokens` in each of `choices`, whole, or in pieces."""

    tokens: int
    choices: int

    def whole(self) -> dict[str, Any]: ...

    def opening(self) -> bytes: ...

    def words(self) -> Iterator[bytes]: ...

    def closing(self) -> bytes: ...


async def deliver(
    request: web.Request, completion: Written, call: Call, behaviour: Behaviour, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer one call, streamed or whole, and leave in the books what was sent of it."""
    if not call.stream:
        await asyncio.sleep((behaviour.first_token_ms + behaviour.token_ms * completion.tokens) / 1000)
        if not _is_gone(request):
            call.output_tokens, call.finished = completion.tokens * completion.choices, True
        return web.json_response(completion.whole(), headers=headers)
    answer = web.StreamResponse(headers=headers | {"content-type": "text/event-stream; charset=utf-8"})
    await asyncio.sleep(behaviour.first_token_ms / 1000)
    try:
        await answer.prepare(request)
        await answer.write(completion.opening())
        if await _send_words(request, answer, call, completion, behaviour):
            call.finished = True
            await answer.write(completion.closing())
            await answer.write_eof()
    except ConnectionError:
        call.finished = False
    return answer


async def _send_words(
    request: web.Request, answer: web.StreamResponse, call: Call, completion: Written, behaviour: Behaviour
) -> bool:
    """Whether every word went out; a stream that is to be cut is cut here."""
    due_s = time.monotonic()
    for event in completion.words():
        due_s += behaviour.token_ms / 1000
        # At full speed too, other streams get their turn after every token.
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        if _is_gone(request):
            return False
        if call.output_tokens == behaviour.cut_after_tokens and request.transport is not None:
            request.transport.abort()
            return False
        call.output_tokens += 1
        await answer.write(event)
    return True


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
