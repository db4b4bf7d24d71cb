"""What is read of organizations and teams."""

from __future__ import annotations

from control_plane.teams.models import Team


def team_slugs(organization_id: int) -> list[str]:
    return list(Team.objects.filter(organization_id=organization_id).values_list("slug", flat=True))
