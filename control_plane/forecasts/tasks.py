"""Celery's part of forecasts."""

from __future__ import annotations

from celery import shared_task

from control_plane.forecasts.services import forecast_everything
from control_plane.leases import lease


@shared_task
def forecast() -> None:
    """Calculate on which day each budget will be used up, and tell who wants to know."""
    with lease("forecast") as taken:
        if taken:
            forecast_everything()
