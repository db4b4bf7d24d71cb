"""What groups of the identity provider mean, over the REST API."""

from __future__ import annotations

from rest_framework.mixins import DestroyModelMixin

from control_plane.api.views import OrganizationViewSet
from control_plane.identity.models import GroupMapping
from control_plane.identity.serializers import GroupMappingSerializer
from control_plane.identity.services import remove_mapping


class GroupMappingViewSet(DestroyModelMixin, OrganizationViewSet[GroupMapping]):
    """Which roles groups of the identity provider give. Mappings are made and removed, never changed."""

    scope = "admin"
    http_method_names = ("get", "post", "delete", "head", "options")
    queryset = GroupMapping.objects.select_related("department", "team")
    serializer_class = GroupMappingSerializer
    filters = {"group": "group", "role": "role", "team": "team__slug", "department": "department__slug"}
    rights = {"destroy": "delete"}

    def perform_destroy(self, instance: GroupMapping) -> None:
        remove_mapping(instance)
