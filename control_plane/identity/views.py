"""The way in when the identity provider is away: a link that `manage.py break_glass` has written."""

from __future__ import annotations

import logging
from typing import Final

from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth import login
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views import View

from control_plane.teams.models import User

LINK_SECONDS: Final = 600

_log = logging.getLogger(__name__)


class BreakGlassTokens(PasswordResetTokenGenerator):
    """Links that work once, for ten minutes: a log-in changes what they are made of."""

    key_salt = "control_plane.identity.break_glass"

    def check_token(self, user: User | None, token: str | None) -> bool:
        if not super().check_token(user, token):
            return False
        made_at = int(str(token).split("-", 1)[0], 36)
        return self._num_seconds(self._now()) - made_at <= LINK_SECONDS


class BreakGlassView(View):
    """Asks first, so that whatever looks at links before a person does uses none up."""

    def get(self, request: HttpRequest, user_id: int, token: str) -> HttpResponse:
        user = _person(user_id, token)
        return render(request, "account/break_glass.html", {"person": user}) if user else _no_such_link(request)

    def post(self, request: HttpRequest, user_id: int, token: str) -> HttpResponse:
        user = _person(user_id, token)
        if user is None:
            return _no_such_link(request)
        _log.warning("%s logs in by a link of break_glass", user.get_username())
        login(request, user, backend="control_plane.rights.backend.RightsBackend")
        record_authentication(request, user, "break_glass")
        return HttpResponseRedirect(reverse("admin:index"))


def _person(user_id: int, token: str) -> User | None:
    """Whom a link lets in; None where it is good for nobody."""
    user = User.objects.filter(pk=user_id, is_active=True, is_service=False).first()
    return user if user is not None and BreakGlassTokens().check_token(user, token) else None


def _no_such_link(request: HttpRequest) -> HttpResponse:
    return render(request, "account/no_such_link.html", status=404)
