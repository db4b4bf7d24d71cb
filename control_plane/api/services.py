"""Issuing, changing, rotating and revoking API tokens."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from control_plane.api.models import ApiToken
from control_plane.api.selectors import token_digest, token_prefix
from control_plane.rows import change_row, create_row
from kong_plugins.llm.keys import checksum

if TYPE_CHECKING:
    from control_plane.api.callers import Caller
    from control_plane.teams.models import User

LONGEST_GRACE: Final = timedelta(days=30)
_USABLE: Final = re.compile(r"[!-~]{32,200}")
_ALPHABET: Final = string.ascii_letters + string.digits
_USE_NOTED_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Who hands a token out: a person, and the token that they do it with."""

    user: User
    token: ApiToken | None = None

    @classmethod
    def of(cls, caller: Caller) -> Issuer:
        return cls(user=caller.user, token=caller.token)

    def check(self, token: ApiToken) -> None:
        """Let nobody have a token that may more, or lives longer, than what they came with.

        Raises:
            ValidationError: by field.
        """
        theirs = token.user_id == self.user.pk
        if not theirs and not (token.user.is_service and (self.user.is_superuser or not token.user.is_superuser)):
            raise ValidationError({"user": "A token is for yourself, or for a service account."})
        if self.token is None:
            return
        if self.token.scopes is not None and not set(token.scopes or ["(all)"]) <= set(self.token.scopes):
            raise ValidationError({"scopes": f"Your own token has the scopes {', '.join(self.token.scopes)} only."})
        if self.token.expires_at is not None and (token.expires_at is None or token.expires_at > self.token.expires_at):
            raise ValidationError({"expires_at": "Your own token expires before that."})


@transaction.atomic
def issue_token(
    *,
    user_id: int,
    organization_id: int,
    name: str,
    token: str | None = None,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    issuer: Issuer | None = None,
) -> tuple[ApiToken, str]:
    """Make a token, or take the given one; return its record and the token itself, which is to be shown once. Without
    an issuer the installation itself hands it out.

    Raises:
        ValidationError: by field.
    """
    token = token or _new_token()
    _require_usable(token)
    row = create_row(
        ApiToken(
            user_id=user_id,
            organization_id=organization_id,
            name=name,
            digest=token_digest(token),
            prefix=token_prefix(token),
            scopes=None if scopes is None else sorted(set(scopes)),
            expires_at=expires_at,
        )
    )
    if issuer is not None:
        issuer.check(row)
    return row, token


@transaction.atomic
def change_token(token_id: int, *, issuer: Issuer, **changes: Any) -> ApiToken:
    """Change what a token is called, what it is for, or until when.

    Raises:
        ValidationError: by field.
    """
    if changes.get("scopes") is not None:
        changes["scopes"] = sorted(set(changes["scopes"]))
    token, changed = change_row(ApiToken.objects.select_related("user"), token_id, changes)
    if changed & {"scopes", "expires_at"}:
        issuer.check(token)
    return token


@transaction.atomic
def rotate_token(token_id: int, *, issuer: Issuer, grace: timedelta = timedelta(0)) -> tuple[ApiToken, str]:
    """Give a token another secret, and return that, which is to be shown once; the one before works for `grace`.

    Raises:
        ValidationError: it was revoked, or the issuer may not have it.
    """
    row = ApiToken.objects.select_for_update(of=("self",)).select_related("user").get(pk=token_id)
    if row.revoked_at is not None:
        raise ValidationError("The token is revoked; make a new one.")
    issuer.check(row)
    token = _new_token()
    row.previous_digest, row.previous_until = (row.digest, timezone.now() + grace) if grace else (None, None)
    row.digest, row.prefix = token_digest(token), token_prefix(token)
    row.save(update_fields=["digest", "prefix", "previous_digest", "previous_until"])
    return row, token


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
        record.digest, record.prefix, record.revoked_at = token_digest(token), token_prefix(token), None
        record.save(update_fields=["digest", "prefix", "revoked_at"])
    return None


def revoke_token(token_id: int) -> ApiToken:
    """End a token's use at once; revoking twice changes nothing."""
    ApiToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=timezone.now())
    return ApiToken.objects.get(pk=token_id)


def revoke_tokens_of(user_id: int, *, organization_id: int | None = None) -> None:
    """End the use of all tokens that act as somebody, or of those in one organization."""
    rows = ApiToken.objects.filter(user=user_id, revoked_at=None)
    if organization_id is not None:
        rows = rows.filter(organization=organization_id)
    rows.update(revoked_at=timezone.now())


def note_use(token: ApiToken) -> None:
    """Keep when a token was last used, to the hour: a write for each request would be too many."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - _USE_NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_NOTED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now.replace(minute=0, second=0, microsecond=0))


def _new_token() -> str:
    """`bsa_<id>_<secret of 190 bits>_<checksum>`: recognised by secret scanners, and a mistyped one by anybody."""
    parts = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 32))
    body = "_".join(("bsa", *parts))
    return f"{body}_{checksum(body)}"


def _require_usable(token: str) -> None:
    if not _USABLE.fullmatch(token):
        raise ValidationError("An API token has 32 to 200 printable ASCII characters and no blanks.")
