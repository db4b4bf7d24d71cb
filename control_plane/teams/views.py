"""The organization and its teams over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.teams.models import Organization, Team
from control_plane.teams.serializers import OrganizationSerializer, TeamSerializer


class OrganizationView(OrganizationViewSet[Organization]):
    """The caller's own organization."""

    scope = "teams"
    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer

    def get_object(self) -> Organization:
        return self.organization


class TeamViewSet(OrganizationViewSet[Team]):
    scope = "teams"
    queryset = Team.objects.all()
    serializer_class = TeamSerializer
    lookup_field = "slug"
    filters = {"slug": "slug", "name": "name", "tier": "tier"}
