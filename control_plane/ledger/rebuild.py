"""Redis gets its counters back from the ledger, and gateways may admit again.

What the ledger does not know yet, gateways send again from their journals: calls that are running they hold again while
admission is closed, calls that were settled they settle again once it is open (`kong_plugins/llm/outbox.py`).
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import F

from control_plane.budgets.models import BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.leases import lease
from control_plane.ledger.counters import counted_events, place_of, used
from control_plane.ledger.ingest import wait_for_turn
from control_plane.ledger.models import UsageEvent
from control_plane.live import live_state
from control_plane.releases.services import publish_everything
from control_plane.teams.models import Organization
from kong_plugins.llm.recovery import CounterPlace, Recovery

logger = logging.getLogger(__name__)

# Gateways look every second whether Redis has lost something, and then hold again what runs.
GATEWAYS_LOOK_WITHIN_S: Final = 3.0
_PAUSE_S: Final = 0.2
_CLOSING_MS: Final = 86_400_000
_COUNTERS_AT_ONCE: Final = 500
# Readers of the stream take turns, so the ledger's newest rows are its newest events, but for what one reader left.
_NEWEST_ROWS: Final = 1_000
_OVERLAP: Final = timedelta(minutes=10)


class RebuildError(Exception):
    """The counters could not be rebuilt, and admission is closed."""


def rebuild(organization: Organization, *, drained_within_s: float, gateways_look_within_s: float) -> int:
    """Set every running budget's counter to what the ledger says, and open admission with the next epoch.

    Returns how many counters were wrong. May be run at any time: calls that are running go on.

    Raises:
        RebuildError: somebody else does it just now, or the ledger does not catch up with the stream.
        StoreUnavailable: Redis cannot be reached.
    """
    with lease(f"rebuild_counters:{organization.slug}") as taken:
        if not taken:
            raise RebuildError(f"the counters of {organization.slug} are being rebuilt already")
        recovery = Recovery(live_state())
        recovery.close_admission(organization.slug)
        newest = list(UsageEvent.objects.filter(organization=organization.slug).order_by("-id")[:_NEWEST_ROWS])
        recovery.continue_sequence(organization.slug, max((event.seq for event in newest), default=0))
        publish_everything(organization.pk)
        periods = _periods(organization)
        _publish_ended(organization, periods)
        time.sleep(gateways_look_within_s)
        corrected = _correct_when_drained(organization, periods, recovery, time.monotonic() + drained_within_s)
        known_until = max((event.posted_at for event in newest), default=None)
        since_ms = int((known_until - _OVERLAP).timestamp() * 1000) if known_until else 0
        rows = Organization.objects.filter(pk=organization.pk)
        rows.update(readiness_epoch=F("readiness_epoch") + 1)
        epoch: int = rows.values_list("readiness_epoch", flat=True).get()
        recovery.open_admission(organization.slug, epoch, replay_since_ms=since_ms)
        logger.warning("%s: %d counters were corrected; epoch %d is open", organization.slug, corrected, epoch)
        return corrected


def _periods(organization: Organization) -> list[BudgetPeriod]:
    """Those in which calls may still be counted, and those whose last calls may just be ending."""
    at_ms = now_ms()
    return list(
        BudgetPeriod.objects.select_related("budget__organization", "budget__model").filter(
            budget__organization=organization,
            starts_at_ms__lte=at_ms,
            ends_at_ms__gt=at_ms - _CLOSING_MS,
            published_version__gt=0,
        )
    )


def _publish_ended(organization: Organization, periods: list[BudgetPeriod]) -> None:
    for period in periods:
        if period.ends_at_ms <= now_ms():
            place = place_of(period)
            live_state().set_cap(
                *(organization.slug, place.budget, place.subject, place.period),
                cap=period.cap,
                version=period.version,
                thresholds_percent=period.budget.thresholds_percent,
            )


def _correct_when_drained(
    organization: Organization, periods: list[BudgetPeriod], recovery: Recovery, give_up_s: float
) -> int:
    places = [place_of(period) for period in periods]
    while True:
        with transaction.atomic():
            # Nothing enters the ledger meanwhile, so its sums and the counters are of one instant.
            wait_for_turn(organization.slug)
            spent = recovery.spent_when_drained(organization.slug, places)
            if spent is not None:
                differences = _differences(organization, periods, spent)
                _apply(organization, recovery, differences)
                return len(differences)
        if time.monotonic() >= give_up_s:
            raise RebuildError("the ledger does not catch up with the stream: does `manage.py ingest` run?")
        time.sleep(_PAUSE_S)


def _differences(
    organization: Organization, periods: list[BudgetPeriod], spent: list[int]
) -> list[tuple[CounterPlace, int]]:
    counted = counted_events(organization, periods)
    sums = [(place_of(period), used(events, period.budget.unit)) for period, events in counted]
    return [(place, total - before) for (place, total), before in zip(sums, spent, strict=True) if total != before]


def _apply(organization: Organization, recovery: Recovery, differences: list[tuple[CounterPlace, int]]) -> None:
    run = uuid.uuid4().hex
    for start in range(0, len(differences), _COUNTERS_AT_ONCE):
        recovery.adjust(organization.slug, f"rebuild-{run}-{start}", differences[start : start + _COUNTERS_AT_ONCE])
