"""Teams as the REST API shows and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.api.serializers import StrictSerializer
from control_plane.teams import services
from control_plane.teams.models import TIERS, Team


class TeamSerializer(StrictSerializer[Team]):
    fixed = frozenset({"slug"})

    slug = serializers.CharField(max_length=63)
    name = serializers.CharField(max_length=100)
    tier = serializers.ChoiceField(choices=TIERS, default="normal")
    models = serializers.ListField(
        source="allowed_models", child=serializers.CharField(max_length=128), allow_null=True, default=None
    )
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Team:
        return services.create_team(organization_id=self.organization.pk, actor=self.actor, **validated_data)

    def update(self, instance: Team, validated_data: dict[str, Any]) -> Team:
        return services.change_team(instance.pk, actor=self.actor, **validated_data)
