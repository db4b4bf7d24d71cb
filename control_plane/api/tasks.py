"""Celery's part of the REST API."""

from __future__ import annotations

from celery import shared_task

from control_plane.api.idempotency import forget_old_answers


@shared_task
def forget_answers() -> None:
    """Drop answers that are no longer replayed."""
    forget_old_answers()
