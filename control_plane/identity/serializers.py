"""What groups mean, as the REST API shows and takes it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.api.serializers import OwnedBySlug, StrictSerializer
from control_plane.identity.models import GroupMapping
from control_plane.identity.services import create_mapping
from control_plane.rights.roles import ROLES
from control_plane.teams.models import Department, Team


class GroupMappingSerializer(StrictSerializer[GroupMapping]):
    """Which role a group of the identity provider gives: of the whole organization, or of one department or team."""

    id = serializers.IntegerField(read_only=True)
    group = serializers.CharField(max_length=200, help_text="As the identity provider sends it; case counts.")
    role = serializers.ChoiceField(choices=ROLES)
    department = OwnedBySlug(slug_field="slug", queryset=Department.objects.all(), allow_null=True, default=None)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.all(), allow_null=True, default=None)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> GroupMapping:
        return create_mapping(organization=self.organization, **validated_data)
