"""What is read of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter

from django.core.exceptions import ValidationError

from control_plane.catalog.models import Model


def model_names(organization_id: int) -> list[str]:
    return list(Model.objects.filter(organization_id=organization_id).values_list("name", flat=True))


def validate_model_names(organization_id: int, names: Collection[str] | None, *, field: str = "allowed_models") -> None:
    """Refuse a list of models that names an unknown one, or one twice. None allows all models.

    Raises:
        ValidationError: for the field.
    """
    if not names:
        return
    if unknown := sorted(set(names) - set(model_names(organization_id))):
        raise ValidationError({field: f"Unknown models: {', '.join(unknown)}."})
    if len(set(names)) != len(names):
        raise ValidationError({field: "Name each model once."})


def validate_degrade_to(organization_id: int, name: str, degrade_to: Collection[str]) -> None:
    """Refuse what the model `name` is to degrade to if it names an unknown model or one twice, or leads back to it.

    Raises:
        ValidationError: for `degrade_to`.
    """
    if name in degrade_to:
        raise ValidationError({"degrade_to": "A model cannot degrade to itself."})
    validate_model_names(organization_id, degrade_to, field="degrade_to")
    others = Model.objects.filter(organization_id=organization_id).exclude(name=name)
    try:
        TopologicalSorter({name: degrade_to} | dict(others.values_list("name", "degrade_to"))).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ValidationError({"degrade_to": f"These would degrade in a circle: {circle}."}) from error
