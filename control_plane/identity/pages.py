"""What the pages of log-in and two-factor show besides their own: the admin's look."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest

_OURS: Final = ("account_", "mfa_", "socialaccount_", "openid_connect_", "saml_", "break_glass")


def of_the_site(request: HttpRequest) -> dict[str, Any]:
    """A context processor: for those pages only, since the admin's own have it already."""
    match = request.resolver_match
    if match is None or not (match.url_name or "").startswith(_OURS) or match.app_names:
        return {}
    return admin.site.each_context(request) | {"local_login": settings.LOCAL_LOGIN}
