"""The provider's HTTP side: the paths of all wire formats, and the pages where a test steers it and reads its books."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from demo.catalog import DemoModel, demo_models
from demo.simulator.answers import CHAT
from demo.simulator.azure import AZURE_CHAT, AZURE_DEPLOYMENT_CHAT, issue_token
from demo.simulator.bedrock import CONVERSE, INVOKE
from demo.simulator.books import ACCOUNT_PREFIX, Behaviour, Books, Call
from demo.simulator.cohere import COHERE
from demo.simulator.completions import COMPLETIONS
from demo.simulator.delivery import deliver
from demo.simulator.embeddings import EMBEDDINGS
from demo.simulator.errors import ProviderError, incorrect_key, invalid, missing_key, ordered_failure
from demo.simulator.form import Asked, Form
from demo.simulator.gemini import GEMINI
from demo.simulator.media import EDITS, IMAGES, SPEECH
from demo.simulator.messages import MESSAGES
from demo.simulator.ollama import OLLAMA
from demo.simulator.parts import is_form, read_form
from demo.simulator.requests import read_body, requested_model
from demo.simulator.responses import RESPONSES
from demo.simulator.transcriptions import TRANSCRIPTIONS

_MOST_REQUEST_BYTES = 64 * 1024 * 1024
_INLINE_BYTES = 32 * 1024
_BODY_DIGEST = "body_sha256"
_log = logging.getLogger("simulator")

_GEMINI_CALL = "models/{model:[^/:]+}:{method:generateContent|streamGenerateContent}"
_CONVERSE_CALL = "model/{model:[^/]+}/{operation:converse|converse-stream}"
_INVOKE_CALL = "model/{model:[^/]+}/{operation:invoke|invoke-with-response-stream}"
_FORMS = {
    "/v1/chat/completions": CHAT,
    "/openai/v1/chat/completions": AZURE_CHAT,
    "/openai/deployments/{model}/chat/completions": AZURE_DEPLOYMENT_CHAT,
    "/v1/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/completions": COMPLETIONS,
    "/v1/images/generations": IMAGES,
    "/v1/images/{operation:edits|variations}": EDITS,
    "/v1/audio/speech": SPEECH,
    "/v1/audio/{operation:transcriptions|translations}": TRANSCRIPTIONS,
    "/v1/messages": MESSAGES,
    "/v2/chat": COHERE,
    "/api/{method:chat|generate}": OLLAMA,
    f"/v1/{_GEMINI_CALL}": GEMINI,
    f"/v1beta/{_GEMINI_CALL}": GEMINI,
    # Vertex AI, which has a project and a location in the path.
    f"/v1/projects/{{project}}/locations/{{location}}/publishers/google/{_GEMINI_CALL}": GEMINI,
    f"/{_CONVERSE_CALL}": CONVERSE,
    f"/{_INVOKE_CALL}": INVOKE,
    # Under the demo's one base URL.
    f"/v1/{_CONVERSE_CALL}": CONVERSE,
    f"/v1/{_INVOKE_CALL}": INVOKE,
}


class Simulator:
    """One provider with its books. An account whose behaviour nobody has set gets `standard`."""

    def __init__(self, standard: Behaviour) -> None:
        self._books = Books(standard)
        self._models = {name: model for model in demo_models() for name in (model.name, model.snapshot)}

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_MOST_REQUEST_BYTES, middlewares=[_digest])
        application.add_routes(
            [
                web.get("/", self.show_ready),
                web.get("/v1/models", self.list_models),
                *(web.post(path, partial(self._serve, form=form)) for path, form in _FORMS.items()),
                web.post("/{tenant}/oauth2/v2.0/token", issue_token),
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

    async def _serve(self, request: web.Request, form: Form) -> web.StreamResponse:
        """Answer one call in the words of its wire format, and leave in the books what was sent."""
        account = form.account(request)
        call = self._entered(request, account)
        call.id = form.call_id()
        try:
            body, model, behaviour = await self._admit(request, account, form)
            asked = await _read(form, body, model, request)
        except ProviderError as error:
            call.status, call.finished = error.status, True
            return web.json_response(form.error_body(error), status=error.status, headers=form.headers(error.status))
        call.model, call.stream, call.input_tokens = asked.model, asked.stream, asked.input_tokens
        form.enter(call, asked, behaviour)
        answer = await deliver(request, form, form.answer(asked, call, behaviour), call, behaviour)
        _log.info("%s %s", account, call.summary())
        return answer

    def _entered(self, request: web.Request, account: str | None) -> Call:
        names = tuple(sorted({name.lower() for name in request.headers}))
        call = Call(_known(account), request.headers.get("x-client-request-id"), names, request[_BODY_DIGEST])
        return self._books.enter(call)

    async def _admit(
        self, request: web.Request, account: str | None, form: Form
    ) -> tuple[dict[str, Any], DemoModel, Behaviour]:
        """The body, the model that it names, and how this account is answered.

        Raises:
            ProviderError: the account or the model is none, or the call is to fail.
        """
        if account is None:
            raise missing_key()
        if _known(account) is None:
            raise incorrect_key()
        data = await request.read()
        form.verify(request, data)
        if (failure := self._books.take_failure(account)) is not None:
            raise ordered_failure(failure)
        # Some formats name the model in the path.
        body = (await read_form(request, data) if is_form(request) else read_body(data)) | request.match_info
        served = {name: model for name, model in self._models.items() if form.protocol in model.protocols}
        return body, requested_model(body, served), self._books.behaviour(account)


@web.middleware
async def _digest(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note what exactly has arrived, before anybody reads it."""
    request[_BODY_DIGEST] = hashlib.sha256(await request.read()).hexdigest()
    return await handler(request)


async def _read(form: Form, body: dict[str, Any], model: DemoModel, request: web.Request) -> Asked:
    """Read the request; a large one, whose tokens take long to count, beside the others."""
    if (request.content_length or 0) <= _INLINE_BYTES:
        return form.read(body, model, request)
    return await asyncio.to_thread(form.read, body, model, request)


def _known(account: str | None) -> str | None:
    return account if account is not None and account.startswith(ACCOUNT_PREFIX) else None


def _named_account(request: web.Request) -> str:
    account = request.query.get("account", "")
    if _known(account) is None:
        raise web.HTTPBadRequest(text=f"?account= must name an account, {ACCOUNT_PREFIX}…\n")
    return account
