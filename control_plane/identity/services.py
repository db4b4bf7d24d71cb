"""Saying what groups of the identity provider mean here."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from control_plane.identity.models import GroupMapping
from control_plane.rows import create_row


@transaction.atomic
def create_mapping(**fields: Any) -> GroupMapping:
    """Give a group a role; each of its people has it from their next log-in.

    Raises:
        ValidationError: by field.
    """
    return create_row(GroupMapping(**fields))


@transaction.atomic
def remove_mapping(mapping: GroupMapping) -> None:
    """Take a group's role away; each of its people loses it at their next log-in."""
    mapping.delete()
