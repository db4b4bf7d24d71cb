"""Who makes a request, from where and why, as entries of the audit log say it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from control_plane.audit.context import Acting, acting_as

MAX_REASON: Final = 500
_REASON_FIELD: Final = "change_reason"
_WAYS: Final = {"api": "api", "scim": "api", "admin": "admin"}


class BadReason(ValueError):
    """A reason that cannot be kept as it is."""


class ActingMiddleware:
    """Has the changes that a request makes recorded as those of its user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            reason = reason_of(request)
        except BadReason as error:
            return _refused(request, str(error))
        with acting_as(partial(_acting, request, reason)):
            return self.get_response(request)


def reason_of(request: HttpRequest) -> str:
    """Why a request changes something, if it says so: the header x-bursar-reason, or the input of a page.

    Raises:
        BadReason: it is too long, or not in UTF-8.
    """
    # WSGI hands a header's bytes on as if they were latin-1.
    header = request.headers.get("x-bursar-reason", "").encode("latin-1", errors="replace")
    try:
        reason = header.decode() or (request.POST.get(_REASON_FIELD, "") if _way(request) == "admin" else "")
    except UnicodeDecodeError:
        raise BadReason("Write x-bursar-reason in UTF-8.") from None
    if len(reason) > MAX_REASON:
        raise BadReason(f"A reason has at most {MAX_REASON} characters.")
    return "".join(character if character.isprintable() else " " for character in reason).strip()


def _acting(request: HttpRequest, reason: str) -> Acting:
    # An API token's user is put on the request by its authentication, in the middle of the request.
    user: Any = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    return Acting(
        actor=user.get_username() if known else "anonymous",
        actor_id=str(user.pk) if known else "",
        token=getattr(getattr(getattr(request, "auth", None), "token", None), "name", ""),
        way=_way(request),
        address=request.META.get("REMOTE_ADDR", ""),
        request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
        reason=reason,
    )


def _way(request: HttpRequest) -> str:
    return _WAYS.get(request.path_info.split("/", 2)[1], "web")


def _refused(request: HttpRequest, detail: str) -> HttpResponse:
    if _way(request) != "api":
        return HttpResponse(detail, status=400, content_type="text/plain")
    problem = {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": detail}
    return JsonResponse(problem, status=400, content_type="application/problem+json")
