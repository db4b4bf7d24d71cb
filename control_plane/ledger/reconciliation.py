"""Whether the books agree: events, their sums, and what Redis says was spent, as equal integers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from control_plane.ledger.checkpoints import forget_outdated, summed
from control_plane.ledger.counters import CountedSpan, ledger_sums, running_spans
from control_plane.ledger.models import Reconciliation
from control_plane.ledger.periods import day_start
from control_plane.ledger.statements import statement
from control_plane.live import live_state
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.recovery import CounterPlace, Recovery

logger = logging.getLogger(__name__)

# Sums do not change any more once their calls are over; a day is a wide margin.
_LOOK_BACK: Final = timedelta(days=8)
# How long an event may be on its way from Redis before its absence is a difference.
_PATIENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.5


def reconcile_all() -> None:
    """Compare the books of every organization, and record what was found."""
    forget_outdated()
    for organization in Organization.objects.all():
        try:
            difference = first_difference(organization, patience_seconds=_PATIENCE_SECONDS)
        except StoreUnavailable as error:
            logger.warning("%s: the books cannot be compared: %s", organization.slug, error)
        else:
            _note(organization, difference or "")


def first_difference(organization: Organization, *, patience_seconds: float = 0.0) -> str | None:
    """The first place where an organization's books differ, in words; None where they agree.

    Every comparison is of one instant, so calls may go on meanwhile. What Redis has counted may be on its way to the
    ledger still, for so long as `patience_seconds`.

    Raises:
        StoreUnavailable: what Redis says is not known.
    """
    return (
        _hours_differ(organization)
        or _days_differ(organization)
        or next(_budgets_that_differ(organization, patience_seconds), None)
    )


def _note(organization: Organization, difference: str) -> None:
    before = Reconciliation.objects.filter(organization=organization.slug).first()
    is_new = bool(difference) and not (before and before.difference)
    if is_new:
        logger.error("%s: the books differ: %s", organization.slug, difference)
    since = timezone.now() if is_new else before.since if before and difference else None
    Reconciliation.objects.update_or_create(
        organization=organization.slug,
        defaults={"checked_at": timezone.now(), "difference": difference, "since": since},
    )


def _hours_differ(organization: Organization) -> str | None:
    today = timezone.now().astimezone(organization.zone).date()
    asked = {"organization": organization.slug, "since": day_start(today - _LOOK_BACK, organization.zone)}

    def add_up(until_id: int) -> Any:
        row = _first_row("events_of_keys", **asked, until_id=until_id)
        return msgspec.json.decode(row[0]) if row else []

    known, until_id = summed(organization.slug, f"events since {asked['since']}", add_up)
    row = _first_row("hours_that_differ", **asked, until_id=until_id, known=msgspec.json.encode(known).decode())
    if row is None:
        return None
    team, key, events_nusd, hours_nusd = row
    return f"team {team}, key {key}: events of {events_nusd} nano-USD, but hours of {hours_nusd}"


def _days_differ(organization: Organization) -> str | None:
    since = timezone.now().astimezone(organization.zone).date() - _LOOK_BACK
    row = _first_row("days_that_differ", organization=organization.slug, since=since)
    return None if row is None else f"{row[0]}: hours of {row[1]} nano-USD, but a day of {row[2]}"


def _first_row(name: str, **parameters: Any) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement(name), parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def _budgets_that_differ(organization: Organization, patience_seconds: float) -> Iterator[str]:
    """The money budgets of running periods, and of those that ended lately, which Redis and the ledger disagree on."""
    for span in running_spans(organization):
        if span.budget.unit == "nusd":
            known, until_id = summed(
                organization.slug, f"budget {span.budget.reference} {span.period.name}", partial(_add_up, span)
            )
            sums = {(subject, tier): amount for subject, tier, amount in known}
            for part in span.parts():
                if difference := _differs(part, sums, until_id, patience_seconds):
                    yield difference


def _add_up(span: CountedSpan, until_id: int) -> list[tuple[str, str | None, int]]:
    """What of the span was used up to an id, by subject and tier."""
    return [
        (place.subject, place.tier, amount)
        for part in span.parts()
        for place, amount in ledger_sums(part, Q(id__lte=until_id)).items()
        if amount
    ]


def _differs(
    span: CountedSpan, known: dict[tuple[str, str | None], int], until_id: int, patience_seconds: float
) -> str | None:
    spent, seq = Recovery(live_state()).spent_at(span.organization.slug, span.places)
    in_redis = dict(zip(span.places, spent, strict=True))
    if lost := [place for place in span.places if in_redis[place] is None and span.is_made_beforehand(place)]:
        return f"{_name(span, lost[0])}: Redis has lost it"
    deadline = time.monotonic() + patience_seconds
    while True:
        later = ledger_sums(span, Q(id__gt=until_id, seq__lte=seq))
        recorded = {place: known.get((place.subject, place.tier), 0) + later[place] for place in span.places}
        place = next((place for place in span.places if recorded[place] != (in_redis[place] or 0)), None)
        if place is None:
            return None
        if time.monotonic() >= deadline:
            found = f"events of {recorded[place]} nano-USD, but {in_redis[place] or 0} spent in Redis"
            return f"{_name(span, place)}: {found}"
        time.sleep(_PAUSE_SECONDS)


def _name(span: CountedSpan, place: CounterPlace) -> str:
    tier = f" · tier {place.tier}" if place.tier else ""
    return f"{span.budget} · {place.subject} · {place.period}{tier}"
