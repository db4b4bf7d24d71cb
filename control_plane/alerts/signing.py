"""Webhooks' secrets: sealed at rest, opened only to sign."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError

from control_plane.alerts.models import Webhook
from kong_plugins.llm.credentials import open_credential, seal_credential

_SHORTEST: Final = 16
_LONGEST: Final = 200


def seal_secret(webhook: Webhook, secret: str) -> str:
    """The form in which a webhook's secret is stored.

    Raises:
        ValidationError: the secret is too short to be safe, or could be garbled on the way into a receiver's settings.
    """
    if not (secret.isascii() and secret.isprintable() and _SHORTEST <= len(secret) <= _LONGEST):
        raise ValidationError({"secret": f"A secret has {_SHORTEST} to {_LONGEST} printable ASCII characters."})
    return seal_credential(secret, credential_id=webhook.credential_id, credential_key=settings.CREDENTIAL_KEY)


def secret_of(webhook: Webhook) -> str:
    """The secret itself.

    Raises:
        ValueError: it was sealed with another credential key.
    """
    return open_credential(
        webhook.sealed_secret, credential_id=webhook.credential_id, credential_key=settings.CREDENTIAL_KEY
    )
