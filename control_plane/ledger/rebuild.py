"""Redis gets its counters back from the ledger, and gateways may admit again.

What the ledger does not know yet, gateways send again from their journals: calls that are running they hold again while
admission is closed, calls that were settled they settle again once it is open (`kong_plugins/llm/outbox.py`).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from django.db import transaction
from django.db.models import F

from control_plane.budgets.models import BudgetPeriod
from control_plane.budgets.selectors import now_ms
from control_plane.budgets.services import cap_of
from control_plane.leases import lease
from control_plane.ledger.counters import CLOSING_MS, CountedSpan, ledger_sums, running_spans
from control_plane.ledger.ingest import wait_for_turn
from control_plane.ledger.models import UsageEvent
from control_plane.live import batches, live_state
from control_plane.releases.services import publish_everything
from control_plane.teams.models import Organization
from kong_plugins.llm.recovery import Recovery

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Gateways look every second whether Redis has lost something, and then hold again what runs.
GATEWAYS_LOOK_WITHIN_S: Final = 3.0
_PAUSE_S: Final = 0.2
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
        _publish_ended(organization)
        time.sleep(gateways_look_within_s)
        corrected = _correct_when_drained(organization, recovery, time.monotonic() + drained_within_s)
        known_until = max((event.posted_at for event in newest), default=None)
        since_ms = int((known_until - _OVERLAP).timestamp() * 1000) if known_until else 0
        rows = Organization.objects.filter(pk=organization.pk)
        rows.update(readiness_epoch=F("readiness_epoch") + 1)
        epoch: int = rows.values_list("readiness_epoch", flat=True).get()
        recovery.open_admission(organization.slug, epoch, replay_since_ms=since_ms)
        logger.warning("%s: %d counters were corrected; epoch %d is open", organization.slug, corrected, epoch)
        return corrected


def _publish_ended(organization: Organization) -> None:
    """Publish the caps of periods whose last calls may just be ending."""
    at_ms = now_ms()
    ended = BudgetPeriod.objects.select_related("budget").filter(
        budget__organization=organization,
        ends_at_ms__range=(at_ms - CLOSING_MS + 1, at_ms),
        published_version__gt=0,
    )
    for periods in batches(ended):
        live_state().set_caps(organization.slug, [cap_of(period, ()) for period in periods])


def _correct_when_drained(organization: Organization, recovery: Recovery, give_up_s: float) -> int:
    """Set the counters to what the ledger says, each at an instant at which it has read all of the stream."""

    def spans() -> list[CountedSpan] | None:
        is_drained = recovery.spent_when_drained(organization.slug, []) is not None
        return list(running_spans(organization)) if is_drained else None

    # Users who appear later are counted by Redis from their first call on.
    return sum(
        _in_turn(organization, give_up_s, partial(_correct, recovery, part))
        for span in _in_turn(organization, give_up_s, spans)
        for part in span.parts()
    )


def _in_turn(organization: Organization, give_up_s: float, work: Callable[[], Result | None]) -> Result:
    """The result of what can only be done while the stream is drained, and gives None while it is not."""
    while True:
        with transaction.atomic():
            # Nothing enters the ledger meanwhile, so its sums and the counters are of one instant.
            wait_for_turn(organization.slug)
            result = work()
        if result is not None:
            return result
        if time.monotonic() >= give_up_s:
            raise RebuildError("the ledger does not catch up with the stream: does `manage.py ingest` run?")
        time.sleep(_PAUSE_S)


def _correct(recovery: Recovery, span: CountedSpan) -> int | None:
    """How many counters of a span were wrong; None while the stream is not drained."""
    slug = span.organization.slug
    spent = recovery.spent_when_drained(slug, span.places)
    if spent is None:
        return None
    sums = ledger_sums(span)
    differences = [
        span.difference(place, sums[place] - before)
        for place, before in zip(span.places, spent, strict=True)
        if sums[place] != before
    ]
    recovery.adjust(slug, f"rebuild-{uuid.uuid4().hex}", differences)
    return len(differences)
