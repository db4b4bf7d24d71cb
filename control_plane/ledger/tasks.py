"""Celery's part of the ledger."""

from __future__ import annotations

import logging
from typing import Final

from celery import shared_task

from control_plane.leases import lease
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.reconciliation import reconcile_all
from control_plane.live import live_state

logger = logging.getLogger(__name__)

_HOLDS_AT_ONCE: Final = 100


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
def aggregate_days() -> None:
    """Bring the day sums up to date."""
    with lease("aggregate_days") as taken:
        if taken:
            aggregate_stale_days()


@shared_task
def reconcile() -> None:
    """Compare the books of every organization, and record what differs."""
    with lease("reconcile") as taken:
        if taken:
            reconcile_all()
