"""The organization and its teams as the REST API shows and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.api.serializers import OwnedBySlug, StrictSerializer, WholeNumberField
from control_plane.teams import services
from control_plane.teams.models import (
    LONGEST_ROTATION_DAYS,
    MAX_PREFERRED,
    TIERS,
    Department,
    Organization,
    Team,
)


class OrganizationSerializer(StrictSerializer[Organization]):
    slug = serializers.CharField(read_only=True)
    name = serializers.CharField(max_length=100)
    time_zone = serializers.CharField(max_length=64)
    fiscal_month_start = WholeNumberField(min_value=1, max_value=28)
    fault_tolerant_tiers = serializers.ListField(child=serializers.ChoiceField(choices=TIERS))
    capless_tiers = serializers.ListField(child=serializers.ChoiceField(choices=TIERS))
    regions = serializers.ListField(child=serializers.CharField(max_length=63), allow_null=True)
    tier_models = serializers.DictField(child=serializers.ListField(child=serializers.CharField(max_length=128)))
    rotate_keys_every_days = WholeNumberField(min_value=1, max_value=LONGEST_ROTATION_DAYS, allow_null=True)

    def update(self, instance: Organization, validated_data: dict[str, Any]) -> Organization:
        return services.change_organization(instance.pk, actor=self.actor, **validated_data)


class TeamSerializer(StrictSerializer[Team]):
    fixed = frozenset({"slug"})

    slug = serializers.CharField(max_length=63)
    name = serializers.CharField(max_length=100)
    department = OwnedBySlug(slug_field="slug", queryset=Department.objects.all(), allow_null=True, default=None)
    cost_centre = serializers.CharField(max_length=64, allow_blank=True, default="")
    tier = serializers.ChoiceField(choices=TIERS, default="normal")
    models = serializers.ListField(
        source="allowed_models", child=serializers.CharField(max_length=128), allow_null=True, default=None
    )
    providers = serializers.ListField(
        source="allowed_providers", child=serializers.CharField(max_length=63), allow_null=True, default=None
    )
    preferred_providers = serializers.ListField(
        child=serializers.CharField(max_length=63), max_length=MAX_PREFERRED, default=list
    )
    regions = serializers.ListField(child=serializers.CharField(max_length=63), allow_null=True, default=None)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Team:
        return services.create_team(organization_id=self.organization.pk, actor=self.actor, **validated_data)

    def update(self, instance: Team, validated_data: dict[str, Any]) -> Team:
        return services.change_team(instance.pk, actor=self.actor, **validated_data)


class OrganizationName(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = ("slug", "name")
