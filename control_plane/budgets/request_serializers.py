"""Requests for more of a budget as the REST API shows and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.amounts import usd_text
from control_plane.api.serializers import InstantField, StrictSerializer, UsdField, WholeNumberField
from control_plane.budgets import extension_requests as services
from control_plane.budgets.models import Budget, ExtensionRequest
from control_plane.budgets.serializers import ExtensionSerializer, take_usd
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible
from kong_plugins.llm.money import MAX_CAP_NUSD

_STATES = [*ExtensionRequest.State.values, "expired"]


class AskedExtensionSerializer(StrictSerializer[ExtensionRequest]):
    """`budget` is its id, and `amount` in its unit; money may be given as `amount_usd` instead. Without `expires_at` it
    is until the running period ends, at most 92 days. `extension` is what was approved.
    """

    id = serializers.IntegerField(read_only=True)
    budget = WholeNumberField(source="budget_id", min_value=1)
    team = serializers.CharField(source="team.slug", read_only=True)
    period = serializers.CharField(source="period_name", read_only=True)
    amount = WholeNumberField(min_value=1, max_value=MAX_CAP_NUSD, required=False)
    amount_usd = UsdField(write_only=True, required=False)
    expires_at = InstantField(required=False)
    reason = serializers.CharField(max_length=500)
    state = serializers.ChoiceField(source="state_now", choices=_STATES, read_only=True)
    asked_by = serializers.CharField(source="asked_by.username", read_only=True)
    asked_at = serializers.DateTimeField(read_only=True)
    decided_by = serializers.CharField(source="decided_by.username", read_only=True, allow_null=True, default=None)
    decided_at = serializers.DateTimeField(read_only=True, allow_null=True)
    note = serializers.CharField(read_only=True)
    extension = ExtensionSerializer(read_only=True, allow_null=True)

    also_shown = {"amount_usd": serializers.CharField(allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        seen = visible(Budget.objects.filter(organization=self.organization), person_of(self.user))
        budget = seen.filter(pk=attrs["budget_id"]).first()
        if budget is None:
            raise serializers.ValidationError({"budget": "There is no such budget."})
        take_usd(attrs, "amount", budget.unit, given=self.initial_data)
        if "amount" not in attrs:
            raise serializers.ValidationError({"amount": "Give amount, or amount_usd for money."})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> ExtensionRequest:
        return services.ask_for_more(asked_by=self.user, **validated_data)

    def to_representation(self, instance: ExtensionRequest) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["amount_usd"] = usd_text(instance.amount) if instance.budget.unit == "nusd" else None
        return shown


class ApprovalSerializer(StrictSerializer[ExtensionRequest]):
    """What is given, if it is less than was asked for, or for a shorter time."""

    amount = WholeNumberField(min_value=1, max_value=MAX_CAP_NUSD, required=False)
    amount_usd = UsdField(write_only=True, required=False)
    expires_at = InstantField(required=False)
    note = serializers.CharField(max_length=500, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        take_usd(attrs, "amount", self.context["row"].budget.unit, given=self.initial_data)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> ExtensionRequest:
        return services.approve_request(self.context["row"].pk, decided_by=self.user, **validated_data)


class RefusalSerializer(StrictSerializer[ExtensionRequest]):
    """Why it is refused."""

    note = serializers.CharField(max_length=500)

    def create(self, validated_data: dict[str, Any]) -> ExtensionRequest:
        return services.refuse_request(self.context["row"].pk, decided_by=self.user, **validated_data)
