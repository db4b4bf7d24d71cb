"""Changing aliases. `actor` is the user name of who does it; every change makes a new release."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import transaction

from control_plane.live import announce_change
from control_plane.routing.models import Alias
from control_plane.rows import change_row, create_row

if TYPE_CHECKING:
    from control_plane.catalog.models import Model
    from control_plane.teams.models import Team


class AliasChanges(TypedDict, total=False):
    model: Model
    active: bool


class AliasFields(AliasChanges):
    name: str


@transaction.atomic
def create_alias(*, organization_id: int, actor: str, team: Team | None = None, **fields: Unpack[AliasFields]) -> Alias:
    """Let clients ask for a model by another name: those of a team, or of all teams without a meaning of their own.

    Raises:
        ValidationError: by field.
    """
    alias = create_row(Alias(organization_id=organization_id, team=team, **fields))
    if alias.team is not None and alias.team.organization_id != organization_id:
        raise ValidationError({"team": "The team belongs to another organization."})
    if alias.organization.models.filter(name=alias.name).exists():
        raise ValidationError({"name": "There is a model of this name, which clients would get instead."})
    _check_model(alias)
    announce_change(organization_id, actor=actor)
    return alias


@transaction.atomic
def change_alias(alias_id: int, *, actor: str, **changes: Unpack[AliasChanges]) -> Alias:
    """Change what an alias stands for, or whether it does.

    Raises:
        ValidationError: by field.
    """
    alias, changed = change_row(Alias.objects.all(), alias_id, changes)
    if "model" in changed:
        _check_model(alias)
    if changed:
        announce_change(alias.organization_id, actor=actor)
    return alias


def _check_model(alias: Alias) -> None:
    if alias.model.organization_id != alias.organization_id:
        raise ValidationError({"model": "The model belongs to another organization."})
