"""Changing organizations and teams. `actor` is the user name of who does it."""

from __future__ import annotations

from typing import Final, TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from control_plane.live import announce_change
from control_plane.rows import change_row, create_row
from control_plane.teams.models import Department, Organization, Team
from control_plane.teams.selectors import validate_organization, validate_team
from kong_plugins.llm.release import Tier
from kong_plugins.llm.windows import PeriodKind

# The periods of budgets that each part of the calendar names.
_COUNTED_BY: Final[dict[str, tuple[PeriodKind, ...]]] = {
    "time_zone": ("day", "week", "month", "quarter", "year"),
    "fiscal_month_start": ("month", "quarter", "year"),
}
_NAMES_SHOWN: Final = 5
_ROUTING: Final = frozenset({"allowed_models", "allowed_providers", "preferred_providers", "regions"})


class OrganizationChanges(TypedDict, total=False):
    name: str
    time_zone: str
    fiscal_month_start: int
    fault_tolerant_tiers: list[Tier]
    capless_tiers: list[Tier]
    regions: list[str] | None
    tier_models: dict[Tier, list[str]]


class OrganizationFields(OrganizationChanges):
    slug: str


class TeamChanges(TypedDict, total=False):
    name: str
    department: Department | None
    cost_centre: str
    tier: Tier
    allowed_models: list[str] | None
    allowed_providers: list[str] | None
    preferred_providers: list[str]
    regions: list[str] | None


class TeamFields(TeamChanges):
    slug: str


@transaction.atomic
def create_organization(*, actor: str, **fields: Unpack[OrganizationFields]) -> Organization:
    """Make an organization; its first release is published with it.

    Raises:
        ValidationError: by field.
    """
    organization = create_row(Organization(**fields))
    validate_organization(organization)
    announce_change(organization.pk, actor=actor)
    return organization


@transaction.atomic
def change_organization(organization_id: int, *, actor: str, **changes: Unpack[OrganizationChanges]) -> Organization:
    """Change an organization. Its calendar changes only while no budget is counted by it: in the new calendar's
    running period nothing would be spent yet, and what was spent would be forgotten.

    Raises:
        ValidationError: by field.
    """
    organization, changed = change_row(Organization.objects.all(), organization_id, changes)
    _refuse_recounting(organization, changed)
    if changed & {"tier_models", "regions"}:
        validate_organization(organization)
    if changed:
        announce_change(organization.pk, actor=actor)
    return organization


def _refuse_recounting(organization: Organization, changed: frozenset[str]) -> None:
    """See that no active budget is counted by what changes of the calendar.

    Raises:
        ValidationError: by field.
    """
    active = organization.budgets.filter(active=True)
    for field in sorted(changed & _COUNTED_BY.keys()):
        names = list(active.filter(period__in=_COUNTED_BY[field]).values_list("name", flat=True)[: _NAMES_SHOWN + 1])
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" and others" if names[_NAMES_SHOWN:] else "")
            raise ValidationError({field: f"Active budgets are counted by this: {shown}. Switch them off first."})


@transaction.atomic
def create_team(*, organization_id: int, actor: str, **fields: Unpack[TeamFields]) -> Team:
    """Make a team, which may use every model and every provider unless it is told otherwise.

    Raises:
        ValidationError: by field.
    """
    team = create_row(Team(organization_id=organization_id, **fields))
    _check_routing(team)
    announce_change(organization_id, actor=actor)
    return team


@transaction.atomic
def change_team(team_id: int, *, actor: str, **changes: Unpack[TeamChanges]) -> Team:
    """Change a team. Gateways read the tier from each key's own record, so a new tier makes a new version of each key.

    Raises:
        ValidationError: by field.
    """
    team, changed = change_row(Team.objects.all(), team_id, changes)
    if changed & _ROUTING:
        _check_routing(team)
    if "tier" in changed:
        team.keys.update(version=F("version") + 1)
    if changed:
        announce_change(team.organization_id, actor=actor)
    return team


def _check_routing(team: Team) -> None:
    # A change of the organization's regions waits for this one, or this one for it.
    rows = Organization.objects.select_for_update(no_key=True)
    validate_team(team, rows.get(pk=team.organization_id))
