"""What every SCIM address has in common (RFC 7644): who calls, how bodies are read and answered, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelValidationError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.authentication import TokenAuthentication
from control_plane.api.parsers import ClearJsonParser
from control_plane.api.problems import problem_response
from control_plane.api.views import ApiView
from control_plane.identity.directory import TAKEN

MEDIA_TYPE: Final = "application/scim+json"
MOST_A_PAGE: Final = 200
_MESSAGES: Final = "urn:ietf:params:scim:api:messages:2.0"


class ScimError(APIException):
    """An error with a `scimType` of https://www.rfc-editor.org/rfc/rfc7644#section-3.12."""

    def __init__(self, scim_type: str, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.scim_type, self.status_code = scim_type, status


class BearerAuthentication(TokenAuthentication):
    """API tokens in the form in which identity providers send one."""

    keyword = "Bearer"


class ScimParser(ClearJsonParser):
    media_type = MEDIA_TYPE


class ScimRenderer(JSONRenderer):
    media_type = MEDIA_TYPE


class AlwaysScim(BaseContentNegotiation):
    """One form of answers, whatever is asked for; Entra ID wants every answer in it."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> Any:
        sent = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: Any = None) -> Any:
        return next(iter(renderers)), MEDIA_TYPE


class ScimView(ApiView):
    """An address of SCIM. It is described by itself, at /scim/v2/Schemas, not in the description of the REST API."""

    scope = "scim"
    schema = None
    authentication_classes: Sequence[type[BaseAuthentication]] = (BearerAuthentication,)
    parser_classes = (ScimParser, ClearJsonParser)
    renderer_classes = (ScimRenderer,)
    content_negotiation_class = AlwaysScim

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return _error_response


def page_of(request: Request, rows: Any, shown: Callable[[Any], dict[str, Any]]) -> Response:
    """A ListResponse with the part of the rows that startIndex and count ask for (RFC 7644, section 3.4.2.4)."""
    start = max(1, _number(request, "startIndex", 1))
    count = min(MOST_A_PAGE, max(0, _number(request, "count", 100)))
    total = rows.count()
    found = [shown(row) for row in rows.order_by("pk")[start - 1 : start - 1 + count]]
    return list_response(found, start=start, total=total)


def list_response(resources: list[dict[str, Any]], *, start: int = 1, total: int | None = None) -> Response:
    return Response(
        {
            "schemas": [f"{_MESSAGES}:ListResponse"],
            "totalResults": len(resources) if total is None else total,
            "startIndex": start,
            "itemsPerPage": len(resources),
            "Resources": resources,
        }
    )


def folded(value: Any) -> Any:
    """JSON with its names in lower case: names of attributes do not differ by case (RFC 7643, section 2.1)."""
    if isinstance(value, dict):
        return {name.lower(): folded(inner) for name, inner in value.items()}
    return [folded(inner) for inner in value] if isinstance(value, list) else value


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise ScimError("invalidValue", f"{name} must be a whole number.")
    return int(text)


def _error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    is_taken = isinstance(error, ModelValidationError) and getattr(error, "code", "") == TAKEN
    if isinstance(error, ModelValidationError):
        named = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
        said = "; ".join(
            " ".join(texts) if name == NON_FIELD_ERRORS else f"{name}: {' '.join(texts)}"
            for name, texts in named.items()
        )
        error = ScimError("uniqueness", said, status=409) if is_taken else ScimError("invalidValue", said)
    response = problem_response(error, context)
    if response is None:
        return None
    body = {"schemas": [f"{_MESSAGES}:Error"], "status": str(response.status_code), "detail": response.data["detail"]}
    response.data = body | ({"scimType": error.scim_type} if isinstance(error, ScimError) else {})
    response.content_type = MEDIA_TYPE
    return response
