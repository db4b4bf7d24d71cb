"""What stands before every page and address: who asks, under which id, how much may be sent, and what a page may load.

Middleware, in the order of `settings.MIDDLEWARE`.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

Answer = Callable[[HttpRequest], HttpResponseBase]

# What a proxy may say of a request; from anybody else it is a claim.
_SAID_BY_PROXIES: Final = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_FOR", "HTTP_X_REQUEST_ID")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
# django-unfold's pages evaluate expressions in attributes (Alpine.js) and set styles there.
_IN_ADMIN: Final = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}

_request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    """Gives each record the `request_id` of the request that is being answered, or -."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _request_id.get()
        return True


def known_client(answer: Answer) -> Answer:
    """Have REMOTE_ADDR be the client's where proxies of ours stand between, and believe nobody else's headers.

    Each proxy appends to X-Forwarded-For who has called it, so what is right of the client is proxies', and what is
    left of him he has written himself.
    """

    def answer_client(request: HttpRequest) -> HttpResponseBase:
        peer = request.META.get("REMOTE_ADDR", "")
        if _is_proxy(peer):
            request.META["REMOTE_ADDR"] = _client(peer, request.META.get("HTTP_X_FORWARDED_FOR", ""))
        else:
            for name in _SAID_BY_PROXIES:
                request.META.pop(name, None)
        return answer(request)

    return answer_client


def named_request(answer: Answer) -> Answer:
    """Give each request an id, a proxy's where it has one, in the logs and as `x-request-id` of the answer."""

    def answer_named(request: HttpRequest) -> HttpResponseBase:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = request_id
        before = _request_id.set(request_id)
        try:
            response = answer(request)
        finally:
            _request_id.reset(before)
        response["x-request-id"] = request_id
        return response

    return answer_named


def bounded_body(answer: Answer) -> Answer:
    """Refuse a body that is larger than `DATA_UPLOAD_MAX_MEMORY_SIZE`, whoever would read it, files included."""

    def answer_bounded(request: HttpRequest) -> HttpResponseBase:
        # A body without a length is empty to Django.
        length_bytes = int(request.META.get("CONTENT_LENGTH") or 0)
        limit_bytes: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return _too_large(limit_bytes) if length_bytes > limit_bytes else answer(request)

    return answer_bounded


def narrow_pages(answer: Answer) -> Answer:
    """Let the admin's pages do what their components need, and none of them ask for what no page needs."""
    answer_in_admin: Answer = csp_update(_IN_ADMIN)(answer)
    # A browser holds the identity provider, to which the forms of log-in lead on, to be one of their targets.
    answer_sign_in: Answer = csp_update(_IN_ADMIN | {"form-action": [SELF, *settings.SIGN_IN_ORIGINS]})(answer)

    def answer_narrowed(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith((reverse("account_login"), f"{reverse('admin:index')}sso/")):
            response = answer_sign_in(request)
        else:
            in_admin = request.path.startswith(reverse("admin:index"))
            response = answer_in_admin(request) if in_admin else answer(request)
        response["permissions-policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        return response

    return answer_narrowed


def _client(peer: str, forwarded_for: str) -> str:
    address = peer
    for hop in reversed(forwarded_for.split(",")):
        found = _address(hop.strip())
        if found is None or not _is_proxy(address):
            break
        address = str(found)
    return address


def _is_proxy(address: str) -> bool:
    found = _address(address)
    return found is not None and any(found in network for network in settings.TRUSTED_PROXIES)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _too_large(limit_bytes: int) -> HttpResponse:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": f"A body has at most {limit_bytes} bytes.",
    }
    return HttpResponse(json.dumps(problem), status=status, content_type="application/problem+json")
