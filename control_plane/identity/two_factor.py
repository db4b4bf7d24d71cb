"""Who must have a second factor: where BURSAR_REQUIRE_TWO_FACTOR says so, everybody who came in with a password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse


def require_two_factor(answer: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Let a person without the second factor that is required of them do nothing but set it up, or log out."""

    def answer_with_two_factor(request: HttpRequest) -> HttpResponseBase:
        if not settings.REQUIRE_TWO_FACTOR or not _lacks_it(request) or _leads_to_it(request.path):
            return answer(request)
        if request.path.startswith("/api/"):
            detail = "Set up two-factor authentication in the admin first."
            problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail}
            return JsonResponse(problem, status=403, content_type="application/problem+json")
        return HttpResponseRedirect(reverse("mfa_activate_totp"))

    return answer_with_two_factor


def _lacks_it(request: HttpRequest) -> bool:
    user: Any = request.user
    if not user.is_authenticated:
        return False
    ways = request.session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    # The identity provider asks for what the organization wants there.
    came_by_provider = any(way.get("method") == "socialaccount" for way in ways)
    return not came_by_provider and not is_mfa_enabled(user)


def _leads_to_it(path: str) -> bool:
    open_to = [
        reverse("mfa_index"),
        reverse("account_login"),
        reverse("account_reauthenticate"),
        reverse("account_logout"),
        reverse("admin:logout"),
    ]
    return path.startswith((*open_to, settings.STATIC_URL, "/api/v1/health"))
