"""OpenAI's models at Azure: deployment paths and v1, with the key in `api-key`, or an access token of Entra's.

https://learn.microsoft.com/azure/ai-foundry/openai/reference and
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow; an application's client secret is
the account that it speaks for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import replace
from typing import Any

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.answers import CHAT
from demo.simulator.books import ACCOUNT_PREFIX
from demo.simulator.errors import ProviderError
from demo.simulator.form import Asked, bearer

_SCOPE = "https://cognitiveservices.azure.com/.default"
_TOKEN_SECONDS = 3599
_SIGNING_KEY = secrets.token_bytes(32)


async def issue_token(request: web.Request) -> web.Response:
    """A token for an application that knows its secret."""
    form = await request.post()
    account = str(form.get("client_secret", ""))
    if form.get("grant_type") != "client_credentials" or form.get("scope") != _SCOPE:
        return web.json_response({"error": "invalid_request"}, status=400)
    if not account.startswith(ACCOUNT_PREFIX):
        return web.json_response({"error": "invalid_client"}, status=401)
    token = f"{base64.urlsafe_b64encode(account.encode()).decode()}.{_signature(account)}"
    return web.json_response({"token_type": "Bearer", "expires_in": _TOKEN_SECONDS, "access_token": token})


def _account(request: web.Request) -> str | None:
    """Whom the key or the token is for; a key in another header is none."""
    if (key := request.headers.get("api-key")) is not None:
        return key
    name, _, signature = (bearer(request) or "").partition(".")
    try:
        account = base64.urlsafe_b64decode(name).decode()
    except ValueError:
        return None
    return account if hmac.compare_digest(signature, _signature(account)) else None


def _read_dated(body: dict[str, Any], model: DemoModel, request: web.Request) -> Asked:
    if not request.query.get("api-version"):
        raise ProviderError(404, "Resource not found", code="404")
    return CHAT.read(body, model, request)


def _signature(account: str) -> str:
    return hmac.new(_SIGNING_KEY, account.encode(), hashlib.sha256).hexdigest()


AZURE_CHAT = replace(CHAT, account=_account)
AZURE_DEPLOYMENT_CHAT = replace(AZURE_CHAT, read=_read_dated)
