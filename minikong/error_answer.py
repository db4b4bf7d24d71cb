"""Kong's own error documents: the message for a status, in the form that the client accepts.

Texts, forms and the choice between them are those of kong/pdk/response.lua and kong/tools/http.lua.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MESSAGES: Final = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    411: "Length required",
    413: "Payload too large",
    414: "URI too long",
    415: "Unsupported media type",
    417: "Expectation failed",
    429: "Too many requests",
    431: "Request header fields too large",
    500: "An unexpected error occurred",
    501: "Not implemented",
    502: "An invalid response was received from the upstream server",
    503: "The upstream server is currently unavailable",
    504: "The upstream server is timing out",
}
_JSON: Final = "application/json; charset=utf-8"
_FORMS: Final = {
    "application/json": (_JSON, '{{\n  "message":"{message}",\n  "request_id":"{request_id}"\n}}'),
    "text/plain": ("text/plain; charset=utf-8", "{message}\nrequest_id: {request_id}\n"),
    "text/html": (
        "text/html; charset=utf-8",
        '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n  <body>\n'
        "    <h1>Error</h1>\n    <p>{message}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n",
    ),
    "application/xml": (
        "application/xml; charset=utf-8",
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>{message}</message>\n'
        "  <requestid>{request_id}</requestid>\n</error>\n",
    ),
}
_ANY_OF: Final = {"*/*": "application/json", "application/*": "application/json", "text/*": "text/plain"}
_MEDIA_TYPE: Final = re.compile(
    r"\s*([a-z0-9!#$&^_+.*-]+/[a-z0-9!#$&^_+.*-]+)(?:.*?;\s*q=([01](?:\.\d{0,3})?))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A body and the header that says what it is."""

    body: bytes
    headers: list[tuple[bytes, bytes]]


def error_answer(
    status: int, accept: Sequence[bytes], request_id: str, message: str | None = None, default: str = "application/json"
) -> ErrorAnswer:
    """The document for a status; `message` replaces the usual text, `default` serves a client that accepts nothing."""
    text = message or _MESSAGES.get(status, f"The upstream server responded with {status}")
    content_type, form = _FORMS[_preferred(b",".join(accept).decode("latin-1")) if accept else default]
    body = form.format(message=text, request_id=request_id).encode("utf-8", "surrogateescape")
    return ErrorAnswer(body, [(b"content-type", content_type.encode())])


def _preferred(accept: str) -> str:
    preferred, highest = "application/json", 0.0
    for entry in accept.split(","):
        found = _MEDIA_TYPE.match(entry)
        quality = float(found[2] or 1) if found else 0.0
        if found and quality > highest:
            kind = _ANY_OF.get(found[1].lower(), found[1].lower())
            preferred, highest = kind if kind in _FORMS else "application/json", quality
    return preferred
