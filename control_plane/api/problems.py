"""What the REST API answers when it cannot do as asked: problem details (RFC 9457), naming the field."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DataError, IntegrityError, OperationalError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import exception_handler

from kong_plugins.llm.errors import StoreUnavailable

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DEADLOCK: Final = "40P01"

logger = logging.getLogger(__name__)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. An unexpected error stays one, and becomes a 500 without details."""
    response = exception_handler(_as_api_error(error), context)
    if response is None:
        return None
    status = HTTPStatus(response.status_code)
    problem: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value}
    if isinstance(error, exceptions.ValidationError | ModelValidationError):
        problem["errors"] = [{"field": field, "message": message} for field, message in _field_errors(response.data)]
        problem["detail"] = "; ".join(_sentence(entry) for entry in problem["errors"])
    else:
        problem["detail"] = str(response.data.get("detail", status.phrase))
    response.data = problem
    response.content_type = "application/problem+json"
    return response


class Conflict(exceptions.APIException):
    status_code = HTTPStatus.CONFLICT
    default_detail = "Another change was made at the same time; read again and retry."


class Unavailable(exceptions.APIException):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "The live state in Redis cannot be reached."


def _as_api_error(error: Exception) -> Exception:
    if isinstance(error, ModelValidationError):
        return exceptions.ValidationError(as_serializer_error(error))
    if isinstance(error, DataError):
        return exceptions.ParseError("A value cannot be stored or compared; does it hold a NUL character?")
    if isinstance(error, IntegrityError):
        logger.warning("a constraint refused what validation had passed: %s", error)
        return Conflict()
    if isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", "") == _DEADLOCK:
        return Conflict()
    if isinstance(error, StoreUnavailable):
        return Unavailable()
    return error


def _field_errors(detail: Any, path: str = "") -> Iterator[tuple[str | None, str]]:
    """Flatten DRF's nested errors to (dotted field or None, message)."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in ("non_field_errors", NON_FIELD_ERRORS) else str(name)
            yield from _field_errors(inner, ".".join(part for part in (path, own) if part))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from _field_errors(inner, path)
    else:
        yield path or None, str(detail)


def _sentence(entry: Mapping[str, str | None]) -> str:
    return f"{entry['field']}: {entry['message']}" if entry["field"] else str(entry["message"])
