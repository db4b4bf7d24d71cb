"""What is read of virtual keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from control_plane.keys.models import VirtualKey, lower_tier
from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.release import Tier

if TYPE_CHECKING:
    from control_plane.teams.models import Team


def active_key_ids(organization_id: int) -> list[str]:
    rows = VirtualKey.objects.filter(team__organization_id=organization_id, revoked_at=None)
    return list(rows.values_list("id", flat=True))


def speaking_key_ids(organization_id: int) -> list[str]:
    """The keys, revoked ones too, whose users' labels select those users' own limits and budgets."""
    rows = VirtualKey.objects.filter(team__organization_id=organization_id, speaks_for_users=True)
    return list(rows.values_list("id", flat=True))


def validate_own_tier(team: Team, own_tier: Tier | None) -> None:
    """Refuse a key's tier that is above its team's.

    Raises:
        ValidationError: for `own_tier`.
    """
    if own_tier and lower_tier(own_tier, team.tier) != own_tier:
        raise ValidationError({"own_tier": f"A key cannot be above its team, which is {team.tier}."})


def key_record(key: VirtualKey) -> KeyRecord:
    """What gateways are to know of a key."""
    return KeyRecord(
        id=key.id,
        version=key.version,
        digest=key.digest,
        organization=key.team.organization.slug,
        team=key.team.slug,
        name=key.name,
        tier=key.tier,
        active=key.active,
        expires_at_ms=int(key.expires_at.timestamp() * 1000) if key.expires_at else None,
        tags=tuple(key.tags),
        speaks_for_users=key.speaks_for_users,
        models=None if key.allowed_models is None else tuple(key.allowed_models),
    )
