"""Budgets and limits as the REST API shows and takes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from control_plane.amounts import usd_text
from control_plane.api.serializers import (
    FlagField,
    InstantField,
    OwnedBySlug,
    StrictSerializer,
    UsdField,
    WholeNumberField,
)
from control_plane.budgets import services
from control_plane.budgets.extensions import extend_budget
from control_plane.budgets.models import (
    BUDGET_UNITS,
    LIMIT_UNITS,
    MAX_WINDOW_MS,
    PERIODS,
    SCOPES,
    Budget,
    Extension,
    Limit,
    ScopedRow,
    default_thresholds,
)
from control_plane.budgets.selectors import usage_if_known
from control_plane.budgets.validators import MAX_QUEUE_MS
from control_plane.catalog.models import Model, Provider
from control_plane.rights.person import person_of
from kong_plugins.llm.money import MAX_CAP_NUSD


class SecondsField(WholeNumberField):
    """A time in whole seconds, kept in milliseconds."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(data) * 1000

    def run_validators(self, value: Any) -> None:
        super().run_validators(value // 1000)

    def to_representation(self, value: Any) -> Any:
        return value // 1000


class ScopedSerializer(StrictSerializer[ScopedRow]):
    """What budgets and limits share. `tier_shares_percent` names the tiers that may not use all of the amount."""

    fixed = frozenset({"scope", "subject", "model", "provider", "tag", "unit"})

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=100)
    scope = serializers.ChoiceField(choices=SCOPES)
    subject = serializers.CharField(max_length=128, allow_null=True, default=None)
    model = OwnedBySlug(slug_field="name", queryset=Model.objects.all(), allow_null=True, default=None)
    provider = OwnedBySlug(slug_field="name", queryset=Provider.objects.all(), allow_null=True, default=None)
    tag = serializers.CharField(max_length=64, allow_null=True, default=None)
    amount = WholeNumberField(min_value=0, max_value=MAX_CAP_NUSD)
    queue_seconds = SecondsField(source="queue_ms", min_value=0, max_value=MAX_QUEUE_MS // 1000, default=0)
    tier_shares_percent = serializers.DictField(child=WholeNumberField(min_value=0, max_value=100), default=dict)
    shadow = FlagField(default=False)
    active = FlagField(default=True)
    created_at = serializers.DateTimeField(read_only=True)

    @property
    def gives(self) -> bool:
        return person_of(self.user).gives_in(self.organization.slug)


class UsageSerializer(serializers.Serializer[Any]):
    """How a cap stands, in the budget's unit; null is what Redis does not know."""

    subject = serializers.CharField()
    period = serializers.CharField()
    cap = serializers.IntegerField()
    carried_over = serializers.IntegerField()
    extended_by = serializers.IntegerField()
    spent = serializers.IntegerField(allow_null=True)
    held = serializers.IntegerField(allow_null=True)


class BudgetSerializer(ScopedSerializer[Budget]):
    """`amount` is in the budget's unit; money may be given as `amount_usd` instead.

    `state` is how the running period stands, null where Redis does not answer or the budget is about each subject
    by itself; `states` has one entry a subject.
    """

    fixed = ScopedSerializer.fixed | {"period"}
    changes_by_itself = frozenset({"state", "states"})

    unit = serializers.ChoiceField(choices=BUDGET_UNITS, default="nusd")
    period = serializers.ChoiceField(choices=PERIODS)
    amount = WholeNumberField(min_value=0, max_value=MAX_CAP_NUSD, required=False)
    amount_usd = UsdField(write_only=True, required=False)
    hard = FlagField(default=True)
    thresholds_percent = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=100), max_length=10, default=default_thresholds
    )
    degrade_at_percent = WholeNumberField(min_value=1, max_value=100, allow_null=True, default=None)
    carry_over_max = WholeNumberField(min_value=0, max_value=MAX_CAP_NUSD, default=0)
    carry_over_max_usd = UsdField(write_only=True, required=False)

    also_shown = {
        "amount_usd": serializers.CharField(allow_null=True),
        "carry_over_max_usd": serializers.CharField(allow_null=True),
        "state": UsageSerializer(allow_null=True),
        "states": UsageSerializer(many=True),
    }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unit = attrs.get("unit") or getattr(self.instance, "unit", None)
        for name in ("amount", "carry_over_max"):
            take_usd(attrs, name, unit, given=self.initial_data)
        if self.instance is None and "amount" not in attrs:
            raise serializers.ValidationError({"amount": "Give amount, or amount_usd for money."})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Budget:
        return services.create_budget(
            organization=self.organization, actor=self.actor, gives=self.gives, **validated_data
        )

    def update(self, instance: Budget, validated_data: dict[str, Any]) -> Budget:
        return services.change_budget(instance.pk, actor=self.actor, gives=self.gives, **validated_data)

    def to_representation(self, instance: Budget) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        states = self._states(instance)
        for name in ("amount", "carry_over_max"):
            shown[f"{name}_usd"] = usd_text(shown[name]) if instance.unit == "nusd" else None
        shown["state"] = states[0] if instance.subject is not None and states else None
        shown["states"] = states
        return shown

    def _states(self, budget: Budget) -> list[dict[str, Any]]:
        """The running periods; those of a list were read at once."""
        usage = self.context.get("usage")
        if usage is None:
            usage = usage_if_known([budget])
        return [asdict(each) for each in usage.get(budget.pk, [])]


class LimitSerializer(ScopedSerializer[Limit]):
    fixed = ScopedSerializer.fixed | {"window_seconds"}

    unit = serializers.ChoiceField(choices=LIMIT_UNITS)
    window_seconds = SecondsField(source="window_ms", min_value=1, max_value=MAX_WINDOW_MS // 1000)

    def create(self, validated_data: dict[str, Any]) -> Limit:
        return services.create_limit(
            organization=self.organization, actor=self.actor, gives=self.gives, **validated_data
        )

    def update(self, instance: Limit, validated_data: dict[str, Any]) -> Limit:
        return services.change_limit(instance.pk, actor=self.actor, gives=self.gives, **validated_data)


class ExtensionSerializer(StrictSerializer[Extension]):
    """`amount` is in the budget's unit; money may be given as `amount_usd` instead. The budget is in the context."""

    id = serializers.IntegerField(read_only=True)
    subject = serializers.CharField(max_length=128, required=False)
    amount = WholeNumberField(min_value=1, max_value=MAX_CAP_NUSD, required=False)
    amount_usd = UsdField(write_only=True, required=False)
    expires_at = InstantField()
    reason = serializers.CharField(max_length=500)
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    revoked_by = serializers.CharField(source="revoked_by.username", read_only=True, allow_null=True, default=None)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)

    also_shown = {"amount_usd": serializers.CharField(allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        take_usd(attrs, "amount", self.context["budget"].unit, given=self.initial_data)
        if "amount" not in attrs:
            raise serializers.ValidationError({"amount": "Give amount, or amount_usd for money."})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Extension:
        fields = {"subject": None} | validated_data
        return extend_budget(self.context["budget"].pk, created_by=self.user, **fields)

    def to_representation(self, instance: Extension) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["amount_usd"] = usd_text(instance.amount) if instance.budget.unit == "nusd" else None
        return shown


def take_usd(attrs: dict[str, Any], name: str, unit: str | None, *, given: Any) -> None:
    """Have an amount that was given in US dollars under its own name, in nano-USD.

    Raises:
        ValidationError: for the field in US dollars.
    """
    in_usd = f"{name}_usd"
    if in_usd not in attrs:
        return
    if name in given or unit != "nusd":
        raise serializers.ValidationError({in_usd: f"Only for money, and not together with {name}."})
    attrs[name] = attrs.pop(in_usd)
    if attrs[name] > MAX_CAP_NUSD:
        raise serializers.ValidationError({in_usd: f"At most {MAX_CAP_NUSD} nano-USD."})
