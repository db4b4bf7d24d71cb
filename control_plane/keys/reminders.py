"""Reminders of keys that are due for rotation or expire soon: of each once, and of all that are new in one go a day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from control_plane.keys.models import KeyReminder, VirtualKey
from control_plane.keys.selectors import with_use
from control_plane.keys.signals import keys_fall_due
from control_plane.teams.models import Organization


def remind_everybody() -> None:
    """Remind each organization of what has fallen due, unless it has been reminded today (by its own calendar)."""
    for organization in Organization.objects.order_by("pk"):
        _remind(organization)


@transaction.atomic
def _remind(organization: Organization) -> None:
    today = timezone.now().astimezone(organization.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if KeyReminder.objects.filter(key__team__organization=organization, created_at__gte=today).exists():
        return
    rows = with_use(VirtualKey.objects.filter(team__organization=organization).select_related("team"))
    due = [
        *_missing(rows.filter(is_rotation_due=True), KeyReminder.Kind.ROTATION, "due_at"),
        *_missing(rows.filter(is_expiring=True), KeyReminder.Kind.EXPIRY, "expires_at"),
    ]
    if due:
        reminders = KeyReminder.objects.bulk_create(due)
        keys_fall_due.send(sender=None, organization=organization, reminders=reminders)


def _missing(rows: QuerySet[Any], kind: KeyReminder.Kind, instant: str) -> list[KeyReminder]:
    """The reminders of these keys, due at an instant that each row has, that there have not been yet."""
    found: list[tuple[Any, datetime]] = [(key, getattr(key, instant)) for key in rows]
    known = set(KeyReminder.objects.filter(key__in=[key for key, _ in found], kind=kind).values_list("key", "due_at"))
    return [
        KeyReminder(key=key, kind=kind, due_at=due_at)
        for key, due_at in sorted(found, key=lambda each: each[1])
        if (key.pk, due_at) not in known
    ]
