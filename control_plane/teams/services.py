"""Changing organizations and teams. `actor` is the user name of who does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict, Unpack, get_args

from django.db import transaction
from django.db.models import F

from control_plane.catalog.selectors import validate_model_names
from control_plane.live import announce_change
from control_plane.rows import change_row, create_row
from control_plane.teams.models import Organization, Team
from kong_plugins.llm.release import Tier


class OrganizationChanges(TypedDict, total=False):
    name: str
    time_zone: str
    fiscal_month_start: int
    fault_tolerant_tiers: list[Tier]
    capless_tiers: list[Tier]


class TeamChanges(TypedDict, total=False):
    name: str
    tier: Tier
    allowed_models: list[str] | None


@transaction.atomic
def create_organization(
    *,
    slug: str,
    name: str,
    time_zone: str,
    actor: str,
    fiscal_month_start: int = 1,
    fault_tolerant_tiers: Iterable[Tier] = get_args(Tier),
    capless_tiers: Iterable[Tier] = (),
) -> Organization:
    """Make an organization; its first release is published with it.

    Raises:
        ValidationError: by field.
    """
    organization = create_row(
        Organization(
            slug=slug,
            name=name,
            time_zone=time_zone,
            fiscal_month_start=fiscal_month_start,
            fault_tolerant_tiers=list(fault_tolerant_tiers),
            capless_tiers=list(capless_tiers),
        )
    )
    announce_change(organization.pk, actor=actor)
    return organization


@transaction.atomic
def change_organization(organization_id: int, *, actor: str, **changes: Unpack[OrganizationChanges]) -> Organization:
    """Change an organization. Periods that have begun keep their names, so that nothing is counted anew.

    Raises:
        ValidationError: by field.
    """
    organization, changed = change_row(Organization.objects.all(), organization_id, changes)
    if changed:
        announce_change(organization.pk, actor=actor)
    return organization


@transaction.atomic
def create_team(
    *,
    organization_id: int,
    slug: str,
    name: str,
    actor: str,
    tier: Tier = "normal",
    allowed_models: list[str] | None = None,
) -> Team:
    """Make a team; `allowed_models` None lets it use every model.

    Raises:
        ValidationError: by field.
    """
    team = create_row(
        Team(organization_id=organization_id, slug=slug, name=name, tier=tier, allowed_models=allowed_models)
    )
    validate_model_names(organization_id, allowed_models)
    announce_change(organization_id, actor=actor)
    return team


@transaction.atomic
def change_team(team_id: int, *, actor: str, **changes: Unpack[TeamChanges]) -> Team:
    """Change a team. Gateways read the tier from each key's own record, so a new tier makes a new version of each key.

    Raises:
        ValidationError: by field.
    """
    team, changed = change_row(Team.objects.all(), team_id, changes)
    if "allowed_models" in changed:
        validate_model_names(team.organization_id, team.allowed_models)
    if "tier" in changed:
        team.keys.update(version=F("version") + 1)
    if changed:
        announce_change(team.organization_id, actor=actor)
    return team
