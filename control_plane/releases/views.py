"""Releases over the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import OrganizationViewSet
from control_plane.releases.models import Release
from control_plane.releases.serializers import LiveSerializer, ReleaseSerializer, WholeReleaseSerializer
from control_plane.releases.services import republish


class ReleaseViewSet(OrganizationViewSet[Release]):
    """Every policy that was published, by its number. A change of anything else makes them, nobody by hand."""

    scope = "releases"
    http_method_names = ("get", "post", "head", "options")
    queryset = Release.objects.all()
    lookup_field = "number"
    lookup_value_regex = r"\d{1,9}"
    filters = {"created_by": "created_by"}

    def get_serializer_class(self) -> Any:
        return WholeReleaseSerializer if self.action == "retrieve" else ReleaseSerializer

    @extend_schema(request=None, responses=LiveSerializer)
    @action(detail=False, methods=["post"])
    def republish(self, request: Request) -> Response:
        """Bring to the gateways what has not reached them, and everything if Redis has lost it."""
        if not (self.person.everything or self.person.has("platform_admin", self.organization.slug)):
            raise PermissionDenied
        return Response({"live": republish(self.organization.pk)})
