"""Sums over all events of long ago, remembered for an hour, so that only the newest have to be added up each minute.

That is exact: rows are never changed, and since batches of an organization take turns, no row appears any more whose id
is below that of a row that is there. What was remembered wrongly is wrong for an hour at most.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from control_plane.ledger.models import Checkpoint, UsageEvent

_REMEMBERED: Final = timedelta(hours=1)
_OUTDATED: Final = timedelta(days=1)


def summed(organization: str, name: str, add_up: Callable[[int], Any]) -> tuple[Any, int]:
    """What the events up to an id add up to, and that id. `add_up` gives such sums, as JSON can hold them."""
    now = timezone.now()
    known = Checkpoint.objects.filter(organization=organization, name=name, made_at__gt=now - _REMEMBERED).first()
    if known is None:
        newest = UsageEvent.objects.filter(organization=organization).order_by("-id").values_list("id", flat=True)
        until_id = newest.first() or 0
        known, _ = Checkpoint.objects.update_or_create(
            organization=organization,
            name=name,
            defaults={"until_id": until_id, "made_at": now, "sums": add_up(until_id)},
        )
    return known.sums, known.until_id


def forget_outdated() -> None:
    """Drop what nobody asks for any more."""
    Checkpoint.objects.filter(made_at__lt=timezone.now() - _OUTDATED).delete()
