"""Virtual keys over the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import OrganizationViewSet
from control_plane.keys.models import VirtualKey
from control_plane.keys.serializers import KeySerializer
from control_plane.keys.services import revoke_key


class KeyViewSet(OrganizationViewSet[VirtualKey]):
    scope = "keys"
    queryset = VirtualKey.objects.select_related("team__organization")
    serializer_class = KeySerializer
    organization_path = "team__organization"
    filters = {"name": "name", "team": "team__slug"}

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the key's use; its next request is refused."""
        key = revoke_key(self.get_object().pk, actor=self.actor)
        return Response(self.get_serializer(key).data)
