"""Celery's part of alerts."""

from __future__ import annotations

from typing import Final

from celery import shared_task

from control_plane.alerts.delivery import attempt, due_delivery_ids

_MOST_AT_ONCE: Final = 100


@shared_task
def deliver(delivery_id: int) -> None:
    """Attempt one delivery, if it is due. Called twice for the same one, the second finds nothing to do."""
    attempt(delivery_id)


@shared_task
def deliver_alerts() -> None:
    """Have whatever is due attempted, each by a task of its own, so that a slow receiver holds up no other."""
    for delivery_id in due_delivery_ids(most=_MOST_AT_ONCE):
        deliver.delay(delivery_id)
