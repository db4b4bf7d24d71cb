"""Prices over the REST API: in US dollars, as text, per million tokens or for each piece."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.amounts import usd_from_text
from control_plane.api.serializers import InstantField, OwnedBySlug, StrictSerializer, UsdField, WholeNumberField
from control_plane.catalog.models import MAX_TOKENS, PRICE_FIELDS, Deployment, Discount, Price, Provider
from control_plane.catalog.price_book import set_discount, set_price
from control_plane.catalog.price_text import (
    PIECE_NAME,
    Amounts,
    minute_from,
    minute_text,
    piece_rate_from,
    piece_usd_text,
)
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible
from kong_plugins.llm.prices import TOKEN_RATES
from kong_plugins.llm.usage import STANDARD_TIER

_ALWAYS_SHOWN: Final = {f"{name.removesuffix('_nusd')}_usd_per_mtok" for name in Price.COLUMNS}
_TIER: Final = r"^[a-z][a-z0-9_]{0,31}$"


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}, "example": {"web_search": "0.01"}})
class PiecesField(serializers.DictField):
    """What each piece costs, by the piece's name, in US dollars as text."""

    def to_internal_value(self, data: Any) -> dict[str, int]:
        amounts_usd: dict[str, Any] = super().to_internal_value(data)
        return {self._name(name): self._rate(usd) for name, usd in amounts_usd.items()}

    def to_representation(self, value: dict[str, int]) -> dict[str, str]:
        return {name: piece_usd_text(rate) for name, rate in value.items()}

    def _name(self, name: str) -> str:
        if PIECE_NAME.fullmatch(name) is None:
            raise serializers.ValidationError(f"{name[:64]!r} is no name of a piece, such as web_search.")
        return name

    def _rate(self, usd: Any) -> int:
        if not isinstance(usd, str):
            raise serializers.ValidationError('Give what a piece costs as text, such as "0.01".')
        try:
            return piece_rate_from(usd_from_text(usd))
        except ValueError as error:
            raise serializers.ValidationError(
                "What a piece costs is an amount of US dollars with at most 15 decimal places."
            ) from error


@extend_schema_field({"type": "string", "example": "16:30"})
class TimeOfDayField(serializers.Field[int, str, str, Any]):
    """A minute of the day in UTC, as 16:30."""

    def to_internal_value(self, data: Any) -> int:
        try:
            return minute_from(data if isinstance(data, str) else "")
        except ValueError as error:
            raise serializers.ValidationError("Give a time of day such as 16:30.") from error

    def to_representation(self, value: int) -> str:
        return minute_text(value)


class RatesSerializer(StrictSerializer[Price]):
    """The rates of a `kong_plugins.llm.prices.Rates`. Those that follow from others are left out, or null."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        rates = {
            f"{name.removesuffix('_nusd')}_usd_per_mtok": UsdField(
                source=name, required=name in PRICE_FIELDS, allow_null=name not in PRICE_FIELDS
            )
            for name in TOKEN_RATES
        }
        pieces = {"usd_per_piece": PiecesField(source="unit_nusd", required=False)}
        return rates | pieces | super().get_fields()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        absent: Amounts = dict.fromkeys(TOKEN_RATES) | {"unit_nusd": None}
        shown = super().to_representation(absent | instance)
        return {name: value for name, value in shown.items() if value is not None or name in _ALWAYS_SHOWN}


class VariantSerializer(RatesSerializer):
    service_tier = serializers.RegexField(_TIER, default=STANDARD_TIER)
    above_input_tokens = WholeNumberField(min_value=0, max_value=MAX_TOKENS, default=0)
    from_time = TimeOfDayField(source="from_minute", required=False, allow_null=True)
    until_time = TimeOfDayField(source="until_minute", required=False, allow_null=True)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        absent = {"service_tier": STANDARD_TIER, "above_input_tokens": 0, "from_minute": None, "until_minute": None}
        return super().to_representation(absent | instance)


class PriceAmountsSerializer(RatesSerializer):
    """What a deployment charges: its standard rates, and whole sets of rates that hold for some calls instead."""

    variants = VariantSerializer(many=True, required=False)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        amounts = instance.amounts if isinstance(instance, Price) else instance
        return super().to_representation({"variants": None} | amounts)


@extend_schema_field(OpenApiTypes.INT)
class OwnedDeployment(serializers.PrimaryKeyRelatedField[Deployment]):
    """The id of a deployment of the caller's own organization."""

    def get_queryset(self) -> Any:
        token = self.context["request"].auth
        rows = Deployment.objects.filter(model__organization=token.organization)
        return visible(rows, person_of(token.user))


class PriceSerializer(StrictSerializer[Price]):
    """A row of the price book."""

    id = serializers.IntegerField(read_only=True)
    deployment = OwnedDeployment()
    price = PriceAmountsSerializer(source="amounts")
    effective_from = InstantField(required=False)
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Price:
        return set_price(
            validated_data["deployment"].pk,
            validated_data["amounts"],
            effective_from=validated_data.get("effective_from"),
            actor=self.actor,
        )


class DiscountSerializer(StrictSerializer[Discount]):
    id = serializers.IntegerField(read_only=True)
    provider = OwnedBySlug(slug_field="name", queryset=Provider.objects.all(), allow_null=True, default=None)
    deployment = OwnedDeployment(allow_null=True, default=None)
    percent = serializers.DecimalField(max_digits=5, decimal_places=2, min_value=Decimal(0), max_value=Decimal(100))
    effective_from = InstantField(required=False)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Discount:
        return set_discount(organization_id=self.organization.pk, actor=self.actor, **validated_data)
