"""Issuing, changing, rotating, revoking and publishing virtual keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from control_plane.catalog.selectors import validate_model_names
from control_plane.keys.models import VirtualKey
from control_plane.keys.selectors import issues_for_themselves, key_record, network_texts, validate_own_tier
from control_plane.live import VERSION_LEAP, announce_change, batches, leap_ahead, live_state, note_published
from control_plane.rows import change_row, create_row
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.keys import issue_key, key_digest
from kong_plugins.llm.release import Tier

if TYPE_CHECKING:
    from control_plane.teams.models import Team, User


LONGEST_GRACE: Final = timedelta(days=30)
USUAL_GRACE: Final = timedelta(hours=24)


class KeyChanges(TypedDict, total=False):
    name: str
    application: str
    description: str
    contact: str
    tags: list[str]
    allowed_models: list[str] | None
    allowed_routes: list[str] | None
    allowed_networks: list[str] | None
    own_tier: Tier | None
    personal: bool
    rotate_every_days: int | None
    expires_at: datetime | None


# A key is written at most once a minute, however many calls there are. What an organization's batches name comes in
# turns, in one order, so that none of them waits for another.
_NOTE_USES: Final = """
    INSERT INTO keys_keyuse (key_id, generation, last_used_at, protocol)
    SELECT key.id, used.generation, date_trunc('minute', to_timestamp(used.at_ms / 1000)), used.protocol
    FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::text[]) AS used (key_id, generation, at_ms, protocol)
    JOIN keys_virtualkey AS key ON key.id = used.key_id
    ORDER BY key.id, used.generation
    ON CONFLICT (key_id, generation) DO UPDATE SET last_used_at = EXCLUDED.last_used_at, protocol = EXCLUDED.protocol
    WHERE keys_keyuse.last_used_at < EXCLUDED.last_used_at
"""


class KeyFields(KeyChanges, total=False):
    speaks_for_users: bool


@transaction.atomic
def create_key(*, team: Team, created_by: User, **fields: Unpack[KeyFields]) -> tuple[VirtualKey, str]:
    """Issue a key to a team; return its record and the full key, which nobody can read again. Whether it is personal
    follows, where it is not said, from whether its issuer owns the team.

    Raises:
        ValidationError: by field.
    """
    fields.setdefault("personal", issues_for_themselves(created_by, team))
    if networks := fields.get("allowed_networks"):
        fields["allowed_networks"] = network_texts(networks)
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
    if networks := changes.get("allowed_networks"):
        changes["allowed_networks"] = network_texts(networks)
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
def rotate_key(key_id: str, *, actor: str, grace: timedelta = USUAL_GRACE) -> tuple[VirtualKey, str]:
    """Give a key a new secret; return its record and the new full key, which nobody can read again. The secret that it
    had goes on until the end of the grace; it stays the same key, with its budgets, limits and spend.

    Raises:
        ValidationError: the key is not in force, the grace is none, or the secret before is still good.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise ValidationError({"grace": f"The former secret can go on for 0 to {LONGEST_GRACE.days} days."})
    key = _locked(key_id)
    if key.state != "active":
        raise ValidationError(f"The key is {key.state}: issue a new one.")
    if grace and key.former_is_good:
        raise ValidationError(
            "The secret before this one is still good. End it first, or rotate without a grace, which ends both."
        )
    key.former_digest, key.former_until = (key.digest, timezone.now() + grace) if grace else ("", None)
    _, full_key = issue_key(key.pk)
    key.digest = key_digest(full_key, settings.KEY_PEPPER)
    key.generation += 1
    key.rotated_at = timezone.now()
    _save_secrets(key, actor)
    return key, full_key


@transaction.atomic
def end_grace(key_id: str, *, actor: str) -> VirtualKey:
    """End the use of a key's former secret; its next request is refused. Where there is none, nothing changes."""
    key = _locked(key_id)
    if key.former_digest:
        key.former_digest, key.former_until = "", None
        _save_secrets(key, actor)
    return key


def _locked(key_id: str) -> VirtualKey:
    return VirtualKey.objects.select_for_update(of=("self",)).select_related("team__organization").get(pk=key_id)


def _save_secrets(key: VirtualKey, actor: str) -> None:
    key.version += 1
    key.save(update_fields=["digest", "generation", "rotated_at", "former_digest", "former_until", "version"])
    announce_change(key.team.organization_id, actor=actor)


def revoke_key(key_id: str, *, actor: str) -> VirtualKey:
    """End a key's use for good, by its former secret too; its next request is refused. Revoking twice changes
    nothing."""
    revoke_keys([key_id], actor=actor)
    return VirtualKey.objects.select_related("team__organization").get(pk=key_id)


@transaction.atomic
def revoke_keys(key_ids: Collection[str], *, actor: str) -> int:
    """End the use of many keys at once; return how many were in use until now."""
    rows = VirtualKey.objects.select_for_update(of=("self",)).filter(pk__in=key_ids, revoked_at=None).order_by("pk")
    found = list(rows.values_list("pk", "team__organization"))
    VirtualKey.objects.filter(pk__in=[key_id for key_id, _ in found]).update(
        revoked_at=timezone.now(), version=F("version") + 1
    )
    for organization_id in sorted({organization_id for _, organization_id in found}):
        announce_change(organization_id, actor=actor)
    return len(found)


def revoke_personal_keys(*, user: User, organization_id: int | None, **_signal: Any) -> None:
    """Receive `person_left`: end the use of the keys that are for that person alone."""
    rows = VirtualKey.objects.filter(created_by=user, personal=True, revoked_at=None)
    if organization_id is not None:
        rows = rows.filter(team__organization=organization_id)
    revoke_keys(list(rows.values_list("pk", flat=True)), actor="person left")


def note_uses(events: Iterable[UsageEvent]) -> None:
    """Keep when keys were last used; what the ledger records of keys that there are not is passed over."""
    newest: dict[tuple[str, int], UsageEvent] = {}
    for event in events:
        known = newest.setdefault((event.key, event.key_generation), event)
        if known.reserved_at_ms < event.reserved_at_ms:
            newest[event.key, event.key_generation] = event
    with connection.cursor() as cursor:
        cursor.execute(
            _NOTE_USES,
            [
                [event.key for event in newest.values()],
                [event.key_generation for event in newest.values()],
                [event.reserved_at_ms for event in newest.values()],
                [event.protocol or "" for event in newest.values()],
            ],
        )


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
