"""Changing the master key: every sealed secret goes under the first key of `BURSAR_CREDENTIAL_KEY`.

Only the data keys are wrapped anew; no secret is opened. One row at a time is locked, so that everything else goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.db import transaction

from control_plane.live import live_state
from control_plane.releases.selectors import newest_release
from control_plane.releases.services import publish_changes
from control_plane.teams.models import Organization
from kong_plugins.llm.credentials import credential_key_ids, rewrap_credential, sealing_key_id
from kong_plugins.llm.errors import StoreUnavailable

# What is sealed: the model, the field, and the member where that is JSON. What it is sealed for is the model's
# `credential_id`; secrets of two-factor, which django-allauth keeps, are all sealed for TWO_FACTOR.
TWO_FACTOR: Final = "two-factor"
_SEALED: Final = (
    ("catalog.Provider", "sealed_credential", ""),
    ("alerts.Webhook", "sealed_secret", ""),
    ("mfa.Authenticator", "data", "secret"),
    ("mfa.Authenticator", "data", "seed"),
)


@dataclass
class Rotation:
    """What was found: secrets `moved` to the first key (or to be moved), others that `stayed` as they were already
    there, and those `lost`, whose key is not at hand."""

    moved: int = 0
    stayed: int = 0
    lost: list[str] = field(default_factory=list)


def rotate(*, check_only: bool = False) -> Rotation:
    """Move every secret to the first key; with `check_only`, say what would be moved."""
    found = Rotation()
    for label, name, member in _SEALED:
        model = apps.get_model(label)
        for primary_key in model._default_manager.order_by("pk").values_list("pk", flat=True):
            _move(model, primary_key, (name, member), found, check_only=check_only)
    return found


def publish_rotated() -> list[str]:
    """Give the gateways what was moved; return the organizations for which that is still to come."""
    organizations = Organization.objects.order_by("slug").values_list("pk", "slug")
    return [slug for primary_key, slug in organizations if not publish_changes(primary_key, actor="rotation")]


def behind_rotation() -> list[str]:
    """The organizations whose gateways are not known to do with the first key alone: the newest release is not live,
    or the policy in force names a credential that another key seals, or it cannot be read."""
    first, *_ = credential_key_ids(settings.CREDENTIAL_KEY)
    rows = Organization.objects.filter(releases__isnull=False).distinct().order_by("slug")
    return [row.slug for row in rows if not _is_in_force(row, first)]


def _is_in_force(organization: Organization, key_id: str) -> bool:
    release = newest_release(organization.pk)
    if release is None or not release.live:
        return False
    try:
        policy = live_state().get_policy(organization.slug)
        return policy is not None and {key_id}.issuperset(map(sealing_key_id, policy.credentials.values()))
    except (StoreUnavailable, ValueError):
        return False


@transaction.atomic
def _move(model: Any, primary_key: Any, place: tuple[str, str], found: Rotation, *, check_only: bool) -> None:
    name, member = place
    row = model._default_manager.select_for_update().filter(pk=primary_key).first()
    if row is None or (member and member not in getattr(row, name)):
        return
    before = getattr(row, name)[member] if member else getattr(row, name)
    credential_id = TWO_FACTOR if member else row.credential_id
    try:
        after = rewrap_credential(before, credential_id=credential_id, credential_key=settings.CREDENTIAL_KEY)
    except ValueError as error:
        found.lost.append(f"{credential_id}: {error}")
        return
    if after == before:
        found.stayed += 1
        return
    found.moved += 1
    if not check_only:
        setattr(row, name, getattr(row, name) | {member: after} if member else after)
        row.save(update_fields=[name])
