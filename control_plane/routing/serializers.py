"""Aliases as the REST API shows and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.api.serializers import FlagField, OwnedBySlug, StrictSerializer
from control_plane.catalog.models import Model
from control_plane.routing import services
from control_plane.routing.models import Alias
from control_plane.teams.models import Team


class AliasSerializer(StrictSerializer[Alias]):
    fixed = frozenset({"name", "team"})

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=128)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.all(), allow_null=True, default=None)
    model = OwnedBySlug(slug_field="name", queryset=Model.objects.all())
    active = FlagField(default=True)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Alias:
        return services.create_alias(organization_id=self.organization.pk, actor=self.actor, **validated_data)

    def update(self, instance: Alias, validated_data: dict[str, Any]) -> Alias:
        return services.change_alias(instance.pk, actor=self.actor, **validated_data)
