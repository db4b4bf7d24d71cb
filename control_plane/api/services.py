"""Issuing and revoking API tokens."""

from __future__ import annotations

import re
import secrets
from typing import Final

from django.core.exceptions import ValidationError
from django.utils import timezone

from control_plane.api.models import ApiToken
from control_plane.api.selectors import token_digest
from control_plane.rows import create_row

_USABLE: Final = re.compile(r"[!-~]{32,200}")


def issue_token(*, user_id: int, organization_id: int, name: str, token: str | None = None) -> tuple[ApiToken, str]:
    """Make a token, or take the given one; return its record and the token itself, which is to be shown once.

    Raises:
        ValidationError: a given token is too short to be safe or cannot be sent, or the name is taken.
    """
    token = token or f"bsa_{secrets.token_urlsafe(32)}"
    _require_usable(token)
    return create_row(
        ApiToken(user_id=user_id, organization_id=organization_id, name=name, digest=token_digest(token))
    ), token


def agree_on_token(*, user_id: int, organization_id: int, name: str, token: str | None) -> str | None:
    """See that the given token works, or that there is one by this name; return it if it was made up now.

    Raises:
        ValidationError: the given token is too short to be safe or cannot be sent.
    """
    record = ApiToken.objects.filter(organization_id=organization_id, name=name).first()
    if record is None:
        made_up = issue_token(user_id=user_id, organization_id=organization_id, name=name, token=token)[1]
        return None if token else made_up
    if token is not None:
        _require_usable(token)
        record.digest, record.revoked_at = token_digest(token), None
        record.save(update_fields=["digest", "revoked_at"])
    return None


def revoke_token(token_id: int) -> ApiToken:
    """End a token's use at once; revoking twice changes nothing."""
    ApiToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=timezone.now())
    return ApiToken.objects.get(pk=token_id)


def _require_usable(token: str) -> None:
    if not _USABLE.fullmatch(token):
        raise ValidationError("An API token has 32 to 200 printable ASCII characters and no blanks.")
