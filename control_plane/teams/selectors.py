"""What is read of organizations and teams, and what their rules of routing must keep to."""

from __future__ import annotations

from typing import get_args

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from control_plane.catalog.selectors import validate_model_names, validate_provider_names
from control_plane.teams.models import Membership, Organization, Team, User
from kong_plugins.llm.release import Tier


def team_slugs(organization_id: int) -> list[str]:
    return list(Team.objects.filter(organization_id=organization_id).values_list("slug", flat=True))


def team_of(organization_id: int, slug: str) -> Team | None:
    return Team.objects.filter(organization_id=organization_id, slug=slug).first()


def people_of(organization: Organization) -> QuerySet[User]:
    """Who has a role in an organization, and of whom its directory has told."""
    roles = Q(pk__in=Membership.objects.filter(organization=organization).order_by().values("user"))
    return User.objects.filter(roles | Q(pk__in=organization.directory_people.order_by().values("user")))


def validate_organization(organization: Organization) -> None:
    """Refuse models of tiers that are unknown, and regions that leave nothing to one of the teams.

    Raises:
        ValidationError: for `tier_models` or `regions`.
    """
    if unknown := sorted(set(organization.tier_models) - set(get_args(Tier))):
        raise ValidationError({"tier_models": f"No such tier: {', '.join(unknown)}."})
    for names in organization.tier_models.values():
        validate_model_names(organization.pk, names, field="tier_models")
    for team in organization.teams.all():
        _validate_regions(team, organization)


def validate_team(team: Team, organization: Organization) -> None:
    """Refuse what a team may use if it is unknown, named twice, or excluded by what else the team or its organization
    says.

    Raises:
        ValidationError: by field.
    """
    validate_model_names(organization.pk, team.allowed_models)
    validate_provider_names(organization.pk, team.allowed_providers, field="allowed_providers")
    validate_provider_names(organization.pk, team.preferred_providers, field="preferred_providers")
    if team.allowed_providers is not None and (idle := set(team.preferred_providers) - set(team.allowed_providers)):
        raise ValidationError(
            {"preferred_providers": f"The team may not use {', '.join(sorted(idle))}, so this would have no effect."}
        )
    _validate_regions(team, organization)


def _validate_regions(team: Team, organization: Organization) -> None:
    if team.regions is None or organization.regions is None or set(team.regions) & set(organization.regions):
        return
    own, all_teams = " or ".join(team.regions), " or ".join(organization.regions)
    raise ValidationError(
        {"regions": f"Nothing would be left to {team.slug}: its data must stay in {own}, all teams' in {all_teams}."}
    )
