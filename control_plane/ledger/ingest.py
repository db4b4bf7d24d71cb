"""From the stream into the ledger, exactly once.

The stream delivers at least once. A batch is recorded in one transaction and acknowledged after its commit; what
the ledger holds already adds nothing, so a crash between commit and acknowledgement does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec
from django.db import Error, connection, transaction

from control_plane.keys.services import note_uses
from control_plane.ledger.counters import count_what_was_lost
from control_plane.ledger.models import DeadLetter
from control_plane.ledger.partitions import ensure_months
from control_plane.ledger.rows import Row, event_row, hour_rows, instant_of
from control_plane.ledger.signals import thresholds_crossed
from control_plane.ledger.statements import statement
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.events import Event, ThresholdEvent, UsageEvent, decode_event
from kong_plugins.llm.store import StreamEntry

logger = logging.getLogger(__name__)

MOST_DELIVERIES: Final = 5
# Classes of SQLSTATE that are about the data and stay so: data exception, integrity constraint violation,
# program limit exceeded. Any other error is Postgres being away or overtaxed, and passes.
_LASTING_CLASSES: Final = ("22", "23", "54")
# The first of the two numbers of the advisory locks by which consumers take turns.
_TURNS: Final = 1_114_796_643


def record(organization: str, entries: Sequence[StreamEntry]) -> list[str]:
    """Put a batch into the ledger, and return the ids of the entries that may be acknowledged now.

    An entry that cannot be recorded is left to be delivered again, and at its fifth delivery becomes a dead letter.

    Raises:
        django.db.Error, StoreUnavailable: Postgres or Redis cannot do its work just now. Nothing may be acknowledged.
    """
    try:
        _record_together(organization, entries)
    except Exception as error:
        if _will_pass(error):
            raise
        return [entry.entry_id for entry in entries if _record_alone(organization, entry)]
    return [entry.entry_id for entry in entries]


def _record_together(organization: str, entries: Sequence[StreamEntry]) -> None:
    events = [_read(organization, entry) for entry in entries]
    usage = [event for event in events if isinstance(event, UsageEvent)]
    crossings = [event for event in events if isinstance(event, ThresholdEvent)]
    ensure_months(instant_of(event.reserved_at_ms) for event in usage)
    with transaction.atomic():
        take(organization, usage)
        if crossings:
            thresholds_crossed.send(sender=None, crossings=crossings)


def take(organization: str, events: Sequence[UsageEvent]) -> int:
    """Insert what the ledger does not hold yet, add it to the sums, and tell the counters what they do not know; return
    how many events that is. To be called within a transaction, once there are partitions for them."""
    wait_for_turn(organization)
    # Of two with one id, the first is the one that Redis has counted.
    rows = {event.id: event_row(event) for event in reversed(events)}
    inserted = set(_insert(list(rows.values())))
    _add_to_hours(hour_rows((rows[event_id] for event_id in inserted), _zone_of(organization)))
    note_uses(event for event in events if event.id in inserted)
    lost = {event.id: event for event in events if event.uncounted}
    count_what_was_lost(organization, (lost[event_id] for event_id in inserted if event_id in lost))
    return len(inserted)


def _record_alone(organization: str, entry: StreamEntry) -> bool:
    """Whether the entry is dealt with: recorded, or buried as a dead letter."""
    try:
        _record_together(organization, [entry])
    except Exception as error:
        if _will_pass(error):
            raise
        if entry.deliveries < MOST_DELIVERIES:
            logger.warning("%s: entry %s cannot be recorded yet: %s", organization, entry.entry_id, error)
            return False
        _bury(organization, entry, error)
    return True


def _bury(organization: str, entry: StreamEntry, error: Exception) -> None:
    logger.error("%s: entry %s becomes a dead letter", organization, entry.entry_id, exc_info=error)
    letter = DeadLetter(
        organization=organization,
        entry_id=entry.entry_id,
        type=entry.type,
        payload=entry.data,
        reason=f"{type(error).__name__}: {error}",
        deliveries=entry.deliveries,
    )
    DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)


def _read(organization: str, entry: StreamEntry) -> Event:
    event = decode_event(entry.type, entry.data)
    if event.organization != organization:
        raise ValueError(f"the event is of the organization {event.organization!r}")
    return event


def _will_pass(error: Exception) -> bool:
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, StoreUnavailable) or (isinstance(error, Error) and sqlstate[:2] not in _LASTING_CLASSES)


def _zone_of(organization: str) -> ZoneInfo:
    name = Organization.objects.filter(slug=organization).values_list("time_zone", flat=True).first()
    return ZoneInfo(name or "UTC")


def wait_for_turn(organization: str) -> None:
    """Record no two batches of an organization at once: what the ledger holds already must be seen, and sums add up
    without deadlocks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_TURNS, crc32(organization.encode()) - 2**31])


def _insert(rows: Sequence[Row]) -> list[str]:
    """Insert what the ledger does not hold yet, and return the event ids of that."""
    with connection.cursor() as cursor:
        cursor.execute(statement("insert_events"), {"rows": msgspec.json.encode(rows).decode()})
        return [event_id for (event_id,) in cursor.fetchall()]


def _add_to_hours(rows: Sequence[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement("add_to_hours"), {"rows": msgspec.json.encode(rows).decode()})
