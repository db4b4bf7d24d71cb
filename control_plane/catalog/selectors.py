"""What is read of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter

from django.core.exceptions import ValidationError

from control_plane.catalog.models import Model, Provider


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


def validate_provider_names(organization_id: int, names: Collection[str] | None, *, field: str) -> None:
    """Refuse a list of providers that names an unknown one, or one twice. None allows all providers.

    Raises:
        ValidationError: for the field.
    """
    known = Provider.objects.filter(organization_id=organization_id)
    if unknown := sorted(set(names or ()) - set(known.values_list("name", flat=True))):
        raise ValidationError({field: f"Unknown providers: {', '.join(unknown)}."})
    if len(set(names or ())) != len(names or ()):
        raise ValidationError({field: "Name each provider once."})


def validate_stand_ins(
    organization_id: int, name: str, *, fall_back_to: Collection[str], degrade_to: Collection[str]
) -> None:
    """Refuse what the model `name` is to fall back or degrade to if it names an unknown model, itself, or one twice; or
    if degrading leads back to it.

    Raises:
        ValidationError: for `fall_back_to` or `degrade_to`.
    """
    for field, names, verb in (("fall_back_to", fall_back_to, "fall back"), ("degrade_to", degrade_to, "degrade")):
        if name in names:
            raise ValidationError({field: f"A model cannot {verb} to itself."})
        validate_model_names(organization_id, names, field=field)
    if both := sorted(set(fall_back_to) & set(degrade_to)):
        raise ValidationError({"degrade_to": f"The model already falls back to {', '.join(both)}: name each once."})
    others = Model.objects.filter(organization_id=organization_id).exclude(name=name)
    try:
        TopologicalSorter({name: degrade_to} | dict(others.values_list("name", "degrade_to"))).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ValidationError({"degrade_to": f"These would degrade in a circle: {circle}."}) from error
