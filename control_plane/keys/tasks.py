"""Celery's part of keys."""

from __future__ import annotations

from celery import shared_task

from control_plane.keys.reminders import remind_everybody
from control_plane.leases import lease


@shared_task
def remind() -> None:
    """Tell of keys that are due for rotation or expire soon."""
    with lease("remind_of_keys") as taken:
        if taken:
            remind_everybody()
