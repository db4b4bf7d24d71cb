"""Changing the catalogue. `actor` is the user name of who does it; every change makes a new release.

A provider's or a model's name never changes: releases, counters and the ledger know it by that name.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from control_plane.catalog.models import Deployment, Model, Provider
from control_plane.catalog.price_book import add_row
from control_plane.catalog.price_text import Amounts
from control_plane.catalog.selectors import validate_stand_ins
from control_plane.live import announce_change
from control_plane.rows import change_row, create_row


class ModelChanges(TypedDict, total=False):
    context_window_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    fall_back_to: list[str]
    degrade_to: list[str]


class ModelFields(ModelChanges):
    name: str


class DeploymentChanges(TypedDict, total=False):
    provider_model: str
    protocol: str
    region: str | None
    order: int
    weight: int
    longest_audio_s: int | None
    active: bool


@transaction.atomic
def create_model(*, organization_id: int, actor: str, **fields: Unpack[ModelFields]) -> Model:
    """Make a model that clients can ask for, once it has a deployment.

    Raises:
        ValidationError: by field.
    """
    model = create_row(Model(organization_id=organization_id, **fields))
    if model.organization.aliases.filter(name=model.name).exists():
        raise ValidationError({"name": "There is an alias of this name."})
    _validate_stand_ins(model)
    announce_change(organization_id, actor=actor)
    return model


@transaction.atomic
def change_model(model_id: int, *, actor: str, **changes: Unpack[ModelChanges]) -> Model:
    """Change a model's bounds, or what serves in its place.

    Raises:
        ValidationError: by field.
    """
    if "degrade_to" in changes:
        _lock_siblings(model_id)
    model, changed = change_row(Model.objects.all(), model_id, changes)
    if changed & {"fall_back_to", "degrade_to"}:
        _validate_stand_ins(model)
    if changed:
        announce_change(model.organization_id, actor=actor)
    return model


def _validate_stand_ins(model: Model) -> None:
    validate_stand_ins(model.organization_id, model.name, fall_back_to=model.fall_back_to, degrade_to=model.degrade_to)


def _lock_siblings(model_id: int) -> None:
    """Have changes of what an organization's models degrade to wait for each other: two could close a circle."""
    siblings = Model.objects.filter(organization__models=model_id).order_by("pk")
    list(siblings.select_for_update(of=("self",)).values_list("pk"))


@transaction.atomic
def create_deployment(
    *,
    model: Model,
    provider: Provider,
    price: Amounts | None,
    actor: str,
    effective_from: datetime | None = None,
    **fields: Unpack[DeploymentChanges],
) -> Deployment:
    """Let a provider serve a model; without a price its calls are refused under a hard budget. The price is in effect
    from now or from the given instant.

    Raises:
        ValidationError: by field.
    """
    if model.organization_id != provider.organization_id:
        raise ValidationError({"provider": "The provider belongs to another organization."})
    deployment = create_row(Deployment(model=model, provider=provider, **fields))
    if price is not None:
        add_row(deployment, price, effective_from=effective_from or timezone.now(), actor=actor)
    announce_change(model.organization_id, actor=actor)
    return deployment


@transaction.atomic
def change_deployment(deployment_id: int, *, actor: str, **changes: Unpack[DeploymentChanges]) -> Deployment:
    """Change how a deployment is reached or tried.

    Raises:
        ValidationError: by field.
    """
    deployment, changed = change_row(Deployment.objects.all(), deployment_id, changes)
    if changed:
        announce_change(deployment.model.organization_id, actor=actor)
    return deployment
