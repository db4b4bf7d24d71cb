"""What is read of API tokens."""

from __future__ import annotations

import hashlib

from control_plane.api.models import ApiToken


def token_digest(token: str) -> str:
    """The form in which a token is stored; a token has enough entropy to need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def active_token(token: str) -> ApiToken | None:
    """The record of a token that may be used now."""
    return (
        ApiToken.objects.select_related("user", "organization")
        .filter(digest=token_digest(token), revoked_at=None, user__is_active=True)
        .first()
    )
