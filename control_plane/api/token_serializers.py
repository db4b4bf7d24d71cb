"""API tokens as the REST API shows and takes them; the secret is in the answer that makes it and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.api.callers import SCOPES, caller_of
from control_plane.api.models import ApiToken
from control_plane.api.serializers import InstantField, StrictSerializer, WholeNumberField
from control_plane.api.services import LONGEST_GRACE, Issuer, change_token, issue_token


@extend_schema_field(OpenApiTypes.STR)
class OneselfOrService(serializers.SlugRelatedField[Any]):
    """By user name: oneself, or a service account of the organization."""

    def get_queryset(self) -> Any:
        caller = caller_of(self.context["request"])
        accounts = Q(is_service=True, memberships__organization=caller.organization)
        return get_user_model()._default_manager.filter(Q(pk=caller.user.pk) | accounts).distinct()


class TokenSerializer(StrictSerializer[ApiToken]):
    """`username` is whom it acts for: the caller, if none is given, or a service account. `scopes` null means all."""

    fixed = frozenset({"username"})
    changes_by_itself = frozenset({"token", "last_used_at", "state"})

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=100)
    username = OneselfOrService(source="user", slug_field="username", required=False)
    prefix = serializers.CharField(read_only=True)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), allow_null=True, allow_empty=False, default=None
    )
    state = serializers.ChoiceField(choices=["active", "expired", "revoked"], read_only=True)
    expires_at = InstantField(allow_null=True, default=None)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)

    also_shown = {"token": serializers.CharField(help_text="Only in the answer that makes it.", required=False)}

    secret: str | None = None

    def create(self, validated_data: dict[str, Any]) -> ApiToken:
        user = validated_data.pop("user", self.user)
        token, self.secret = issue_token(
            user_id=user.pk, organization_id=self.organization.pk, issuer=Issuer.of(self.caller), **validated_data
        )
        return token

    def update(self, instance: ApiToken, validated_data: dict[str, Any]) -> ApiToken:
        return change_token(instance.pk, issuer=Issuer.of(self.caller), **validated_data)

    def to_representation(self, instance: ApiToken) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | ({"token": self.secret} if self.secret else {})


class RotationSerializer(StrictSerializer[ApiToken]):
    """How long the secret of now goes on working, beside the new one."""

    grace_seconds = WholeNumberField(min_value=0, max_value=int(LONGEST_GRACE.total_seconds()), default=0)

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.validated_data["grace_seconds"])
