"""Day sums out of hour sums."""

from __future__ import annotations

from datetime import date
from typing import Final

from django.db import connection, transaction

from control_plane.ledger.models import HourRollup
from control_plane.ledger.rows import FAILURES
from control_plane.ledger.statements import statement

# Days first: most of the others are made of them.
_OF_A_DAY: Final = (
    *("aggregate_day", "aggregate_team_days", "aggregate_model_days", "aggregate_pair_days"),
    "aggregate_dimension_hours",
)


def aggregate_stale_days() -> int:
    """Bring every day up to date that has hours which it does not hold yet; return how many there were.

    Not for two processes at once: the one with the older view could write last.
    """
    stale = HourRollup.objects.filter(is_in_day=False).order_by("organization", "day")
    days = list(stale.values_list("organization", "day").distinct())
    for organization, day in days:
        _aggregate(organization, day)
    return len(days)


@transaction.atomic
def _aggregate(organization: str, day: date) -> None:
    # An hour that the ingest is changing right now is left for the next run, so that the two never wait for each other.
    stale = HourRollup.objects.select_for_update(skip_locked=True).filter(
        organization=organization, day=day, is_in_day=False
    )
    HourRollup.objects.filter(pk__in=list(stale.values_list("pk", flat=True))).update(is_in_day=True)
    add_up_day(organization, day)


def add_up_day(organization: str, day: date) -> None:
    """Set all sums of a day to those of its hours."""
    with connection.cursor() as cursor:
        for name in _OF_A_DAY:
            cursor.execute(statement(name), {"organization": organization, "day": day, "failures": list(FAILURES)})
