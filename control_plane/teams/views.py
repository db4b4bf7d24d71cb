"""Teams over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.teams.models import Team
from control_plane.teams.serializers import TeamSerializer


class TeamViewSet(OrganizationViewSet[Team]):
    queryset = Team.objects.all()
    serializer_class = TeamSerializer
    lookup_field = "slug"
    filters = {"slug": "slug", "name": "name", "tier": "tier"}
