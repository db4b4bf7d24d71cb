"""Sends an answer at the pace that the account's behaviour asks for, entering every token before it leaves."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from demo.simulator.books import Behaviour, Call
from demo.simulator.form import Form, Writing


async def deliver(
    request: web.Request, form: Form, writing: Writing, call: Call, behaviour: Behaviour
) -> web.StreamResponse:
    """Answer one call, streamed or whole, and leave in the books what was sent of it."""
    headers = form.headers(200)
    if not call.stream:
        await asyncio.sleep((behaviour.first_token_ms + behaviour.token_ms * writing.tokens) / 1000)
        if not _is_gone(request):
            output_tokens = (writing.thought_tokens + writing.tokens) * writing.choices
            call.output_tokens, call.finished = output_tokens, True
        headers |= form.told(call)
        whole = writing.whole()
        if isinstance(whole, bytes):
            return web.Response(body=whole, headers=headers | {"content-type": writing.content_type})
        return web.json_response(whole, headers=headers)
    answer = web.StreamResponse(headers=headers | {"content-type": writing.content_type})
    call.output_tokens = writing.thought_tokens
    await asyncio.sleep(behaviour.first_token_ms / 1000)
    try:
        await answer.prepare(request)
        await answer.write(writing.opening())
        if await _send_words(request, answer, call, writing, behaviour):
            call.finished = True
            await answer.write(writing.closing())
            await answer.write_eof()
    except ConnectionError:
        call.finished = False
    return answer


async def _send_words(
    request: web.Request, answer: web.StreamResponse, call: Call, writing: Writing, behaviour: Behaviour
) -> bool:
    """Whether every word went out; a stream that is to be cut is cut here."""
    due_s = time.monotonic()
    for event in writing.words():
        due_s += behaviour.token_ms / 1000
        # At full speed too, other streams get their turn after every token.
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        if _is_gone(request):
            return False
        if call.output_tokens - writing.thought_tokens == behaviour.cut_after_tokens and request.transport is not None:
            request.transport.abort()
            return False
        call.output_tokens += 1
        await answer.write(event)
    return True


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
