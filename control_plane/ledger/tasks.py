"""Celery's part of the ledger."""

from __future__ import annotations

import logging
from typing import Final

from celery import shared_task

from control_plane.leases import lease
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.reconciliation import reconcile_all
from control_plane.ledger.refusals import keep_refusal_counts
from control_plane.ledger.repricing import reprice_all
from control_plane.live import live_state
from kong_plugins.llm.store import REFUSAL_COUNTS_KEPT_MS

logger = logging.getLogger(__name__)

_HOLDS_AT_ONCE: Final = 100
_HOUR_MS: Final = 3_600_000


@shared_task
def sweep_expired_holds() -> None:
    """Post every hold whose lease is over. Several at once do no harm: the script posts each hold once."""
    store = live_state()
    for organization in store.organizations():
        while expired := store.expire_due(organization, most=_HOLDS_AT_ONCE):
            logger.warning("%s: %d holds were never settled and are posted in full", organization, expired)


@shared_task
def trim_streams() -> None:
    """Drop from the streams what the ledger has acknowledged. Nothing else ever shortens them."""
    store = live_state()
    for organization in store.organizations():
        store.trim_events(organization)


@shared_task
def keep_refusals() -> None:
    """Keep the counts of refusals of this hour and the last."""
    _keep_refusals(hours=2)


@shared_task
def keep_missed_refusals() -> None:
    """Keep the counts of refusals of all hours that Redis remembers, in case nobody could at the time."""
    _keep_refusals(hours=REFUSAL_COUNTS_KEPT_MS // _HOUR_MS)


def _keep_refusals(*, hours: int) -> None:
    for organization in live_state().organizations():
        keep_refusal_counts(organization, hours=hours)


@shared_task
def aggregate_days() -> None:
    """Bring the day sums up to date."""
    with lease("aggregate_days") as taken:
        if taken:
            aggregate_stale_days()


@shared_task
def reprice() -> None:
    """Correct calls that had no price, as soon as there is one."""
    with lease("reprice") as taken:
        if taken:
            reprice_all()


@shared_task
def reconcile() -> None:
    """Compare the books of every organization, and record what differs."""
    with lease("reconcile") as taken:
        if taken:
            reconcile_all()
