"""Issuing, changing, revoking and publishing virtual keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from control_plane.catalog.selectors import validate_model_names
from control_plane.keys.models import VirtualKey
from control_plane.keys.selectors import key_record, validate_own_tier
from control_plane.live import VERSION_LEAP, announce_change, batches, leap_ahead, live_state, note_published
from control_plane.rows import change_row, create_row
from kong_plugins.llm.keys import issue_key, key_digest
from kong_plugins.llm.release import Tier

if TYPE_CHECKING:
    from control_plane.teams.models import Team, User


class KeyChanges(TypedDict, total=False):
    name: str
    tags: list[str]
    allowed_models: list[str] | None
    own_tier: Tier | None
    expires_at: datetime | None


class KeyFields(KeyChanges, total=False):
    speaks_for_users: bool


@transaction.atomic
def create_key(*, team: Team, created_by: User, **fields: Unpack[KeyFields]) -> tuple[VirtualKey, str]:
    """Issue a key to a team; return its record and the full key, which nobody can read again.

    Raises:
        ValidationError: by field.
    """
    key_id, full_key = issue_key()
    digest = key_digest(full_key, settings.KEY_PEPPER)
    key = create_row(VirtualKey(id=key_id, team=team, digest=digest, created_by=created_by, **fields))
    validate_model_names(team.organization_id, key.allowed_models)
    validate_own_tier(team, key.own_tier)
    announce_change(team.organization_id, actor=created_by.get_username())
    return key, full_key


@transaction.atomic
def change_key(key_id: str, *, actor: str, **changes: Unpack[KeyChanges]) -> VirtualKey:
    """Change what a key is called or may do.

    Raises:
        ValidationError: by field.
    """
    key, changed = change_row(VirtualKey.objects.select_related("team"), key_id, changes)
    if "allowed_models" in changed:
        validate_model_names(key.team.organization_id, key.allowed_models)
    if "own_tier" in changed:
        validate_own_tier(key.team, key.own_tier)
    if changed:
        key.version += 1
        key.save(update_fields=["version"])
        announce_change(key.team.organization_id, actor=actor)
    return key


@transaction.atomic
def revoke_key(key_id: str, *, actor: str) -> VirtualKey:
    """End a key's use for good; its next request is refused. Revoking twice changes nothing."""
    revoked = VirtualKey.objects.filter(pk=key_id, revoked_at=None).update(
        revoked_at=timezone.now(), version=F("version") + 1
    )
    key = VirtualKey.objects.select_related("team__organization").get(pk=key_id)
    if revoked:
        announce_change(key.team.organization_id, actor=actor)
    return key


def publish_keys(organization_id: int) -> None:
    """Bring every key that is behind to the gateways.

    Raises:
        StoreUnavailable: what was not reached stays behind.
    """
    rows = VirtualKey.objects.select_related("team__organization").filter(
        team__organization_id=organization_id, published_version__lt=F("version")
    )
    for keys in batches(rows.iterator(chunk_size=1_000)):
        _publish(keys)


def _publish(keys: Sequence[VirtualKey]) -> None:
    """Bring some keys to the gateways in one trip. One of which Redis has a newer version leaps ahead of it."""
    taken = live_state().put_keys(map(key_record, keys))
    new = {key.pk: key.version for key, is_taken in zip(keys, taken, strict=True) if is_taken}
    note_published(VirtualKey.objects.all(), new)
    refused = [key for key, is_taken in zip(keys, taken, strict=True) if not is_taken]
    leaping = [key for key in refused if leap_ahead(VirtualKey.objects.filter(pk=key.pk, version=key.version))]
    for key in leaping:
        key.version += VERSION_LEAP
    if leaping:
        _publish(leaping)


def mark_keys_behind(organization_id: int) -> None:
    """Have every key published anew, because Redis has lost what it knew."""
    VirtualKey.objects.filter(team__organization_id=organization_id).update(published_version=0)
