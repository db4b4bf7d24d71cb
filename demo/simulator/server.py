"""The provider's HTTP side: the paths on which it answers, and the pages where a test steers it and reads its books."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from demo.catalog import DemoModel, demo_models
from demo.simulator import messages
from demo.simulator.answers import Completion
from demo.simulator.books import ACCOUNT_PREFIX, Behaviour, Books, Call
from demo.simulator.delivery import Request, Written, deliver
from demo.simulator.errors import ProviderError, incorrect_key, invalid, missing_key, ordered_failure
from demo.simulator.messages import Message, read_message_request
from demo.simulator.requests import read_body, read_chat_request, requested_model
from demo.simulator.responses import Response, read_response_request

_MOST_REQUEST_BYTES = 64 * 1024 * 1024
_INLINE_BYTES = 32 * 1024
_Request = TypeVar("_Request", bound=Request)
_log = logging.getLogger("simulator")


class Simulator:
    """One provider with its books. An account whose behaviour nobody has set gets `standard`."""

    def __init__(self, standard: Behaviour) -> None:
        self._books = Books(standard)
        self._models = {name: model for model in demo_models() for name in (model.name, model.snapshot)}

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_MOST_REQUEST_BYTES)
        application.add_routes(
            [
                web.get("/", self.show_ready),
                web.get("/v1/models", self.list_models),
                web.post("/v1/chat/completions", self.complete_chat),
                web.post("/v1/responses", self.respond),
                web.post("/v1/messages", self.write_message),
                web.get("/_behaviour", self.show_behaviour),
                web.put("/_behaviour", self.set_behaviour),
                web.get("/_books", self.show_books),
                web.delete("/_books", self.forget_books),
            ]
        )
        return application

    async def show_ready(self, request: web.Request) -> web.Response:
        return web.json_response({"provider": "simulator", "ready": True})

    async def list_models(self, request: web.Request) -> web.Response:
        names = sorted(self._models)
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in names]
        return web.json_response({"object": "list", "data": rows})

    async def show_behaviour(self, request: web.Request) -> web.Response:
        return web.json_response(msgspec.to_builtins(self._books.behaviour(_named_account(request))))

    async def set_behaviour(self, request: web.Request) -> web.Response:
        """Replace an account's behaviour; what the body leaves out is at its default."""
        try:
            behaviour = msgspec.json.decode(await request.read(), type=Behaviour)
        except msgspec.ValidationError as error:
            return web.json_response(invalid(str(error)).body(), status=400)
        self._books.set_behaviour(_named_account(request), behaviour)
        return web.json_response(msgspec.to_builtins(behaviour))

    async def show_books(self, request: web.Request) -> web.Response:
        rows = [call.as_row() for call in self._books.calls(request.query.get("account"))]
        return web.json_response({"calls": rows, "total_nusd": sum(row["amount_nusd"] for row in rows)})

    async def forget_books(self, request: web.Request) -> web.Response:
        self._books.forget(request.query.get("account"))
        return web.Response(status=204)

    async def complete_chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_as_openai(request, "openai_chat", read_chat_request, Completion)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_as_openai(request, "openai_responses", read_response_request, Response)

    async def write_message(self, request: web.Request) -> web.StreamResponse:
        account = request.headers.get("x-api-key") or _bearer(request)
        call = self._entered(request, account)
        call.id = f"msg_{secrets.token_hex(12)}"
        try:
            if "anthropic-version" not in request.headers:
                raise invalid("anthropic-version: header is required")
            body, model, behaviour = await self._admit(request, account, "anthropic_messages")
            asked = await _read(read_message_request, body, model, request)
        except ProviderError as error:
            call.status, call.finished = error.status, True
            return web.json_response(
                messages.error_body(error), status=error.status, headers=_anthropic_headers(error.status)
            )
        call.model, call.stream, call.input_tokens = asked.model, asked.stream, asked.input_tokens
        messages.enter_cached(call, asked, behaviour)
        answer = await deliver(request, Message(asked, call, behaviour), call, behaviour, _anthropic_headers(200))
        _log.info("%s %s", account, call.summary())
        return answer

    async def _answer_as_openai(
        self,
        request: web.Request,
        protocol: str,
        read: Callable[[dict[str, Any], DemoModel], _Request],
        write: Callable[[_Request, Call, Behaviour], Written],
    ) -> web.StreamResponse:
        """Answer a call in one of OpenAI's wire formats, which share the key, the headers and the refusals."""
        started_s = time.monotonic()
        account = _bearer(request)
        call = self._entered(request, account)
        try:
            body, model, behaviour = await self._admit(request, account, protocol)
            asked = await _read(read, body, model, request)
        except ProviderError as error:
            call.status, call.finished = error.status, True
            return web.json_response(error.body(), status=error.status, headers=_headers(started_s, error.status))
        call.model, call.stream, call.input_tokens = asked.model, asked.stream, asked.input_tokens
        call.cache_read_tokens = min(behaviour.cache_read_tokens, asked.input_tokens)
        answer = await deliver(request, write(asked, call, behaviour), call, behaviour, _headers(started_s, 200))
        _log.info("%s %s", account, call.summary())
        return answer

    def _entered(self, request: web.Request, account: str | None) -> Call:
        names = tuple(sorted({name.lower() for name in request.headers}))
        return self._books.enter(Call(_known(account), request.headers.get("x-client-request-id"), names))

    async def _admit(
        self, request: web.Request, account: str | None, protocol: str
    ) -> tuple[dict[str, Any], DemoModel, Behaviour]:
        """The body, the model that it names, and how this account is answered.

        Raises:
            ProviderError: the account or the model is none, or the call is to fail.
        """
        if account is None:
            raise missing_key()
        if _known(account) is None:
            raise incorrect_key()
        if (failure := self._books.take_failure(account)) is not None:
            raise ordered_failure(failure)
        body = read_body(await request.read())
        served = {name: model for name, model in self._models.items() if protocol in model.protocols}
        return body, requested_model(body, served), self._books.behaviour(account)


async def _read(
    read: Callable[[dict[str, Any], DemoModel], _Request], body: dict[str, Any], model: DemoModel, request: web.Request
) -> _Request:
    """Read the request; a large one, whose tokens take long to count, beside the others."""
    if (request.content_length or 0) <= _INLINE_BYTES:
        return read(body, model)
    return await asyncio.to_thread(read, body, model)


def _bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _known(account: str | None) -> str | None:
    return account if account is not None and account.startswith(ACCOUNT_PREFIX) else None


def _named_account(request: web.Request) -> str:
    account = request.query.get("account", "")
    if _known(account) is None:
        raise web.HTTPBadRequest(text=f"?account= must name an account, {ACCOUNT_PREFIX}…\n")
    return account


def _headers(started_s: float, status: int) -> dict[str, str]:
    """Headers of every OpenAI answer, https://platform.openai.com/docs/api-reference/debugging-requests"""
    headers: dict[str, Any] = {
        "x-request-id": f"req_{secrets.token_hex(16)}",
        "openai-organization": "simulator",
        "openai-version": "2020-10-01",
        "openai-processing-ms": int((time.monotonic() - started_s) * 1000),
        "x-ratelimit-limit-requests": 10_000,
        "x-ratelimit-limit-tokens": 30_000_000,
        "x-ratelimit-remaining-requests": 9_999,
        "x-ratelimit-remaining-tokens": 29_999_000,
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }
    if status == 429:
        headers["retry-after"] = 1
    return {name: str(value) for name, value in headers.items()}


def _anthropic_headers(status: int) -> dict[str, str]:
    """Headers of every Anthropic answer, https://docs.anthropic.com/en/api/rate-limits#response-headers"""
    headers = {
        "request-id": f"req_{secrets.token_hex(12)}",
        "anthropic-organization-id": "simulator",
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
    }
    return headers | ({"retry-after": "1"} if status == 429 else {})
