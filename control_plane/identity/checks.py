"""What `manage.py check` has to say of how people come in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning


def check_a_way_in(**_: Any) -> list[CheckMessage]:
    """Warn where nobody can log in; programs with API tokens still can call, so it is no error."""
    if settings.LOCAL_LOGIN or settings.SOCIALACCOUNT_PROVIDERS:
        return []
    hint = "Set BURSAR_OIDC_ISSUER or BURSAR_SAML_ENTITY_ID, or BURSAR_LOCAL_LOGIN=on (docs/single-sign-on.md)."
    message = "Nobody can log in: passwords are switched off, and no identity provider is set."
    return [Warning(message, hint=hint, id="bursar.W001")]
