"""Issuing and revoking API tokens."""

from __future__ import annotations

import secrets
from typing import Final

from django.core.exceptions import ValidationError
from django.utils import timezone

from control_plane.api.models import ApiToken
from control_plane.api.selectors import token_digest

_LEAST_LENGTH: Final = 32


def issue_token(*, user_id: int, organization_id: int, name: str, token: str | None = None) -> tuple[ApiToken, str]:
    """Make a token, or take the given one; return its record and the token itself, which is to be shown once.

    Raises:
        ValidationError: a given token is too short to be safe, or the name is taken.
    """
    token = token or f"bsa_{secrets.token_urlsafe(32)}"
    if len(token) < _LEAST_LENGTH:
        raise ValidationError({"token": f"An API token has at least {_LEAST_LENGTH} characters."})
    record = ApiToken(user_id=user_id, organization_id=organization_id, name=name, digest=token_digest(token))
    record.full_clean()
    record.save()
    return record, token


def revoke_token(record: ApiToken) -> None:
    """End a token's use at once; revoking twice changes nothing."""
    ApiToken.objects.filter(pk=record.pk, revoked_at=None).update(revoked_at=timezone.now())
