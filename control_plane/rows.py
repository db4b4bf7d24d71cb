"""Changing one row: locked, validated by the model's own rules, and only where something really differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


def create_row(row: Row) -> Row:
    """Save a new row after validating it.

    Raises:
        ValidationError: by field.
    """
    row.full_clean()
    row.save(force_insert=True)
    return row


def change_row(rows: QuerySet[Row], primary_key: Any, changes: Mapping[str, Any]) -> tuple[Row, frozenset[str]]:
    """Lock a row, apply the changes and save it; return it and the names of the fields that differ now.

    Must run inside a transaction; concurrent changes of the same row wait for each other.

    Raises:
        ValidationError: by field.
    """
    row = rows.select_for_update(of=("self",)).get(pk=primary_key)
    changed = frozenset(name for name, value in changes.items() if getattr(row, name) != value)
    for name in changed:
        setattr(row, name, changes[name])
    if changed:
        row.full_clean()
        row.save(update_fields=changed)
    return row, changed
