"""What is read of aliases."""

from __future__ import annotations

from collections import defaultdict

from control_plane.routing.models import Alias


def aliases_by_team(organization_id: int) -> dict[int | None, dict[str, str]]:
    """What the active aliases stand for, by the team's primary key; None has those of all teams."""
    found: defaultdict[int | None, dict[str, str]] = defaultdict(dict)
    active = Alias.objects.filter(organization_id=organization_id, active=True)
    for team_id, name, model in active.order_by("name").values_list("team_id", "name", "model__name"):
        found[team_id][name] = model
    return found
