"""Requests that may be sent again: of two with one Idempotency-Key, the second gets the answer to the first.

A key is claimed before the request is carried out. A process that dies in between leaves a claim without an answer,
of which nobody can say whether it was carried out: it is never carried out again.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.callers import caller_of
from control_plane.api.models import StoredAnswer
from kong_plugins.llm.credentials import open_credential, seal_credential

HEADER: Final = "Idempotency-Key"
KEPT: Final = timedelta(hours=24)
_KEY: Final = re.compile(r"[!-~]{1,255}")
_HEADERS: Final = ("content-type", "etag", "x-bursar-live")


class Replayed(Exception):
    """The request was carried out before; this was the answer."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response


class UsedOtherwise(APIException):
    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_detail = f"The {HEADER} was used for another request; take a new one for each."


class WithoutAnswer(APIException):
    status_code = HTTPStatus.CONFLICT
    default_detail = (
        f"The request with this {HEADER} is being carried out, or its answer was lost: "
        "look whether it was, and use a new key if it was not."
    )


def claim(request: Request) -> StoredAnswer | None:
    """The claim of the request's key; None for a request that has none.

    Raises:
        Replayed: there is an answer.
        APIException: the key cannot be used for this.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method not in ("POST", "PATCH"):
        return None
    if not _KEY.fullmatch(key):
        raise ValidationError({HEADER: "Give 1 to 255 printable ASCII characters without blanks."})
    names = {"caller": caller_of(request).name, "key": key}
    StoredAnswer.objects.filter(**names, created_at__lt=timezone.now() - KEPT).delete()
    digest = _digest(request)
    answer, is_new = StoredAnswer.objects.get_or_create(**names, defaults={"request_digest": digest})
    if is_new:
        return answer
    if answer.request_digest != digest:
        raise UsedOtherwise
    raise Replayed(_opened(answer))


def settle(answer: StoredAnswer, response: HttpResponseBase) -> None:
    """Keep the answer of what was carried out; what was refused may be tried again with the same key."""
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        answer.delete()
        return
    assert isinstance(response, Response)
    body = response.render().content.decode()
    answer.status = response.status_code
    answer.headers = {name: response[name] for name in _HEADERS if name in response}
    answer.sealed_body = seal_credential(
        body, credential_id=answer.credential_id, credential_key=settings.CREDENTIAL_KEY
    )
    answer.save(update_fields=["status", "headers", "sealed_body"])


def forget_old_answers() -> int:
    """Drop what is no longer replayed; return how many answers those were."""
    return StoredAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]


def _digest(request: Request) -> str:
    told = f"{request.method} {request.get_full_path()}\n".encode() + request._request.body
    return hashlib.sha256(told).hexdigest()


def _opened(answer: StoredAnswer) -> HttpResponse:
    if answer.status is None:
        raise WithoutAnswer
    try:
        body = open_credential(
            answer.sealed_body, credential_id=answer.credential_id, credential_key=settings.CREDENTIAL_KEY
        )
    except ValueError as error:
        raise WithoutAnswer from error
    return HttpResponse(body, status=answer.status, headers={**answer.headers, "idempotency-replayed": "true"})
