"""Virtual keys as the REST API shows and takes them; the full key is in the answer to its creation and nowhere else."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.api.serializers import FlagField, InstantField, OwnedBySlug, StrictSerializer
from control_plane.keys import services
from control_plane.keys.models import VirtualKey
from control_plane.teams.models import TIERS, Team


class KeySerializer(StrictSerializer[VirtualKey]):
    fixed = frozenset({"team", "speaks_for_users"})
    changes_by_itself = frozenset({"key"})

    id = serializers.CharField(read_only=True)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.select_related("organization"))
    name = serializers.CharField(max_length=100)
    tags = serializers.ListField(child=serializers.CharField(max_length=64), default=list)
    models = serializers.ListField(
        source="allowed_models", child=serializers.CharField(max_length=128), allow_null=True, default=None
    )
    own_tier = serializers.ChoiceField(choices=TIERS, allow_null=True, default=None)
    tier = serializers.CharField(read_only=True)
    speaks_for_users = FlagField(default=False)
    expires_at = InstantField(allow_null=True, default=None)
    active = serializers.BooleanField(read_only=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)

    also_shown = {"key": serializers.CharField(help_text="Only in the answer that makes it.", required=False)}

    _full_key: str | None = None

    def create(self, validated_data: dict[str, Any]) -> VirtualKey:
        key, self._full_key = services.create_key(created_by=self.user, **validated_data)
        return key

    def update(self, instance: VirtualKey, validated_data: dict[str, Any]) -> VirtualKey:
        return services.change_key(instance.pk, actor=self.actor, **validated_data)

    def to_representation(self, instance: VirtualKey) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | ({"key": self._full_key} if self._full_key else {})
