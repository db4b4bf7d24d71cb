"""Forecasts as the REST API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.amounts import usd_text
from control_plane.forecasts.models import Forecast

_AMOUNTS = ("cap", "spent", "per_day")


class ForecastSerializer(serializers.ModelSerializer[Forecast]):
    """Amounts are in the budget's unit; those of money also in US dollars. `exceeds_on` is null where the cap is not
    reached before the period's end."""

    budget_name = serializers.CharField(source="budget.name")
    unit = serializers.CharField(source="budget.unit")
    per_day = serializers.IntegerField()

    also_shown = {f"{name}_usd": serializers.CharField(required=False) for name in _AMOUNTS}

    class Meta:
        model = Forecast
        fields = (
            *("budget", "budget_name", "subject", "period", "unit", "cap", "spent", "per_day"),
            *("exceeds_on", "exceeds_at", "calculated_at"),
        )

    def to_representation(self, instance: Forecast) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if instance.budget.unit == "nusd":
            shown |= {f"{name}_usd": usd_text(shown[name]) for name in _AMOUNTS}
        return shown
