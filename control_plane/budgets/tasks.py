"""Celery's part of budgets."""

from __future__ import annotations

from celery import shared_task

from control_plane.budgets.carry_over import carry_over_everything
from control_plane.leases import lease


@shared_task
def carry_over() -> None:
    """Add what ended periods have left to the caps of those that follow."""
    with lease("carry_over") as taken:
        if taken:
            carry_over_everything()
