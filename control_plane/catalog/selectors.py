"""What is read of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.core.exceptions import ValidationError

from control_plane.catalog.models import Model, Price


def model_names(organization_id: int) -> list[str]:
    return list(Model.objects.filter(organization_id=organization_id).values_list("name", flat=True))


def validate_model_names(organization_id: int, names: Collection[str] | None) -> None:
    """Refuse a list of allowed models that names an unknown one, or one twice. None means all models.

    Raises:
        ValidationError: for `allowed_models`.
    """
    if not names:
        return
    if unknown := sorted(set(names) - set(model_names(organization_id))):
        raise ValidationError({"allowed_models": f"Unknown models: {', '.join(unknown)}."})
    if len(set(names)) != len(names):
        raise ValidationError({"allowed_models": "Name each model once."})


def price_at(deployment_id: int, at: datetime) -> Price | None:
    """The price of a deployment in effect at an instant."""
    return Price.objects.filter(deployment_id=deployment_id, effective_from__lte=at).first()
