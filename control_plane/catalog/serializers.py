"""The catalogue as the REST API shows and takes it: prices in US dollars per million tokens, as text."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.api.serializers import FlagField, OwnedBySlug, StrictSerializer, WholeNumberField
from control_plane.catalog import providers, services
from control_plane.catalog.models import (
    LONGEST_AUDIO_S,
    MAX_STAND_INS,
    MAX_TOKENS,
    MAX_WEIGHT,
    PRICE_FIELDS,
    SHORTEST_AUDIO_S,
    Deployment,
    Model,
    Provider,
)
from control_plane.catalog.price_book import set_price
from control_plane.catalog.price_serializers import PriceAmountsSerializer
from control_plane.catalog.price_text import Amounts
from control_plane.catalog.protocols import protocol_choices
from control_plane.catalog.vendors import credential_choices, vendor_choices
from kong_plugins.llm.vendors import CUSTOM


@extend_schema_field({"type": ["string", "object"]})
class CredentialField(serializers.CharField):
    """A credential as text; one of several fields also as the JSON object that it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=16_000, allow_blank=True, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(json.dumps(data) if isinstance(data, dict) else data)


class ProviderSerializer(StrictSerializer[Provider]):
    fixed = frozenset({"name"})

    name = serializers.CharField(max_length=63)
    vendor = serializers.ChoiceField(choices=vendor_choices(), default=CUSTOM)
    base_url = serializers.CharField(max_length=500, allow_blank=True, default="")
    authentication = serializers.ChoiceField(choices=credential_choices(), required=False)
    credential = CredentialField(write_only=True, required=False)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Provider:
        return providers.create_provider(organization_id=self.organization.pk, actor=self.actor, **validated_data)

    def update(self, instance: Provider, validated_data: dict[str, Any]) -> Provider:
        return providers.change_provider(instance.pk, actor=self.actor, **validated_data)


class ModelSerializer(StrictSerializer[Model]):
    fixed = frozenset({"name"})

    name = serializers.CharField(max_length=128)
    context_window_tokens = WholeNumberField(min_value=1, max_value=MAX_TOKENS)
    max_output_tokens = WholeNumberField(min_value=1, max_value=MAX_TOKENS)
    default_output_tokens = WholeNumberField(min_value=1, max_value=MAX_TOKENS)
    fall_back_to = serializers.ListField(
        child=serializers.CharField(max_length=128), max_length=MAX_STAND_INS, default=list
    )
    degrade_to = serializers.ListField(
        child=serializers.CharField(max_length=128), max_length=MAX_STAND_INS, default=list
    )
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Model:
        return services.create_model(organization_id=self.organization.pk, actor=self.actor, **validated_data)

    def update(self, instance: Model, validated_data: dict[str, Any]) -> Model:
        return services.change_model(instance.pk, actor=self.actor, **validated_data)


class DeploymentSerializer(StrictSerializer[Deployment]):
    fixed = frozenset({"model", "provider"})

    id = serializers.IntegerField(read_only=True)
    model = OwnedBySlug(slug_field="name", queryset=Model.objects.all())
    provider = OwnedBySlug(slug_field="name", queryset=Provider.objects.all())
    provider_model = serializers.CharField(max_length=128)
    protocol = serializers.ChoiceField(choices=protocol_choices(), default="openai_chat")
    region = serializers.CharField(max_length=63, allow_null=True, default=None)
    order = WholeNumberField(min_value=0, max_value=1_000, default=0)
    weight = WholeNumberField(min_value=1, max_value=MAX_WEIGHT, default=1)
    longest_audio_s = WholeNumberField(
        min_value=SHORTEST_AUDIO_S, max_value=LONGEST_AUDIO_S, allow_null=True, default=None
    )
    active = FlagField(default=True)
    price = PriceAmountsSerializer(source="current_price", allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Deployment:
        price = validated_data.pop("current_price")
        return services.create_deployment(price=price, actor=self.actor, **validated_data)

    @transaction.atomic
    def update(self, instance: Deployment, validated_data: dict[str, Any]) -> Deployment:
        if "current_price" in validated_data:
            set_price(instance.pk, self._whole_price(instance, validated_data), actor=self.actor)
        return services.change_deployment(instance.pk, actor=self.actor, **validated_data)

    def _whole_price(self, instance: Deployment, validated_data: dict[str, Any]) -> Amounts:
        """The new price, with what the request leaves out as it is now."""
        given = validated_data.pop("current_price")
        if given is None:
            raise serializers.ValidationError({"price": "A price is replaced by a new one, never taken away."})
        before = instance.current_price
        amounts: Amounts = (before.amounts if before else {}) | given
        if missing := [name for name in PRICE_FIELDS if name not in amounts]:
            raise serializers.ValidationError({"price": f"The first price names every kind; missing: {len(missing)}."})
        return amounts


class FailingSerializer(serializers.Serializer[Any]):
    """A deployment that has failed so many calls in a row, and until when calls go elsewhere."""

    deployment = serializers.IntegerField()
    model = serializers.CharField()
    provider = serializers.CharField()
    failures = serializers.IntegerField()
    status = serializers.IntegerField()
    since = serializers.DateTimeField()
    last_failure_at = serializers.DateTimeField()
    until = serializers.DateTimeField()
    is_being_tried = serializers.BooleanField()
