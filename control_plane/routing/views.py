"""Aliases over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.routing.models import Alias
from control_plane.routing.serializers import AliasSerializer


class AliasViewSet(OrganizationViewSet[Alias]):
    scope = "catalog"
    queryset = Alias.objects.select_related("team", "model")
    serializer_class = AliasSerializer
    filters = {"name": "name", "team": "team__slug", "model": "model__name"}
