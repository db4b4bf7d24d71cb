"""What is read of API tokens, and of those who call."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from django.apps import apps
from django.db.models import Q
from django.utils import timezone

from control_plane.api.models import ApiToken
from control_plane.rights.person import person_of
from kong_plugins.llm.keys import checksum

if TYPE_CHECKING:
    from control_plane.teams.models import Organization, User

_OWN: Final = re.compile(r"(bsa_[0-9A-Za-z]{8})_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")


def token_digest(token: str) -> str:
    """The form in which a token is stored; a token has enough entropy to need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_prefix(token: str) -> str:
    """The part of a token of ours by which it is recognised; "" of any other text, and where the checksum is wrong."""
    match = _OWN.fullmatch(token)
    return match.group(1) if match and checksum(token[:-7]) == token[-6:] else ""


def active_token(token: str) -> ApiToken | None:
    """The record of a token that may be used now."""
    now = timezone.now()
    digest = token_digest(token)
    return (
        ApiToken.objects.select_related("user", "organization")
        .filter(Q(digest=digest) | Q(previous_digest=digest, previous_until__gt=now))
        .filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, user__is_active=True)
        .first()
    )


def organizations_of(user: User) -> list[Organization]:
    """Those in which the user has a role."""
    person = person_of(user)
    rows = apps.get_model("teams", "Organization")._default_manager.order_by("slug")
    return list(rows if person.everything else rows.filter(pk__in=person.all_organizations.ids))
