"""Virtual keys as the REST API shows and takes them; the full key is in the answers to its creation and to its rotation
and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.api.serializers import FlagField, InstantField, OwnedBySlug, StrictSerializer, WholeNumberField
from control_plane.keys import services
from control_plane.keys.models import MAX_NETWORKS, VirtualKey
from control_plane.keys.selectors import shown_key
from control_plane.teams.models import LONGEST_ROTATION_DAYS, TIERS, Team

_HOUR: Final = timedelta(hours=1)
_MOST_AT_ONCE: Final = 1_000


class FormerSecret(serializers.Serializer[Any]):
    """Until when the secret before the newest is good, and when it was last used."""

    good_until = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)


class KeySerializer(StrictSerializer[VirtualKey]):
    fixed = frozenset({"team", "speaks_for_users"})
    changes_by_itself = frozenset({"key", "state", "last_used_at", "last_used_protocol", "former_secret"})

    id = serializers.CharField(read_only=True)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.select_related("organization"))
    name = serializers.CharField(max_length=100)
    application = serializers.CharField(max_length=60, allow_blank=True, default="")
    description = serializers.CharField(max_length=500, allow_blank=True, default="")
    contact = serializers.CharField(max_length=200, allow_blank=True, default="")
    tags = serializers.ListField(child=serializers.CharField(max_length=64), default=list)
    models = serializers.ListField(
        source="allowed_models", child=serializers.CharField(max_length=128), allow_null=True, default=None
    )
    routes = serializers.ListField(
        source="allowed_routes",
        child=serializers.CharField(max_length=128),
        allow_null=True,
        allow_empty=False,
        default=None,
    )
    networks = serializers.ListField(
        source="allowed_networks",
        child=serializers.CharField(max_length=64),
        max_length=MAX_NETWORKS,
        allow_null=True,
        allow_empty=False,
        default=None,
    )
    own_tier = serializers.ChoiceField(choices=TIERS, allow_null=True, default=None)
    tier = serializers.CharField(read_only=True)
    speaks_for_users = FlagField(default=False)
    personal = FlagField(
        required=False, help_text="Not given, it is true where its issuer is a person who does not own the team."
    )
    rotate_every_days = WholeNumberField(min_value=1, max_value=LONGEST_ROTATION_DAYS, allow_null=True, default=None)
    expires_at = InstantField(allow_null=True, default=None)
    active = serializers.BooleanField(read_only=True)
    state = serializers.CharField(read_only=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(source="used_at", read_only=True, allow_null=True)
    last_used_protocol = serializers.CharField(source="used_protocol", read_only=True, allow_null=True)
    rotated_at = serializers.DateTimeField(read_only=True, allow_null=True)
    rotation_due_at = serializers.DateTimeField(read_only=True, allow_null=True)
    former_secret = serializers.SerializerMethodField()

    also_shown = {
        "key": serializers.CharField(help_text="Only in the answers that make it or its new secret.", required=False)
    }

    full_key: str | None = None

    @extend_schema_field(FormerSecret(allow_null=True))
    def get_former_secret(self, key: Any) -> dict[str, Any] | None:
        """The secret before the newest, while it is still good: until when, and when it was last used."""
        if not key.former_is_good:
            return None
        instant = serializers.DateTimeField()
        return {
            "good_until": instant.to_representation(key.former_until),
            "last_used_at": instant.to_representation(key.former_used_at) if key.former_used_at else None,
        }

    def create(self, validated_data: dict[str, Any]) -> VirtualKey:
        key, self.full_key = services.create_key(created_by=self.user, **validated_data)
        return shown_key(key.pk)

    def update(self, instance: VirtualKey, validated_data: dict[str, Any]) -> VirtualKey:
        services.change_key(instance.pk, actor=self.actor, **validated_data)
        return shown_key(instance.pk)

    def to_representation(self, instance: VirtualKey) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | ({"key": self.full_key} if self.full_key else {})


class KeyRotationSerializer(StrictSerializer[VirtualKey]):
    """How long the former secret is to go on."""

    grace_hours = WholeNumberField(
        min_value=0, max_value=services.LONGEST_GRACE // _HOUR, default=services.USUAL_GRACE // _HOUR
    )


class ChosenKeysSerializer(StrictSerializer[VirtualKey]):
    """Some keys by their ids."""

    ids = serializers.ListField(child=serializers.CharField(max_length=12), allow_empty=False, max_length=_MOST_AT_ONCE)


class RevokedKeysSerializer(serializers.Serializer[Any]):
    """How many of them were in use until now."""

    revoked = serializers.IntegerField()
