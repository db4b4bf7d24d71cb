"""What is read of forecasts."""

from __future__ import annotations

from django.db.models import QuerySet

from control_plane.budgets.selectors import now_ms
from control_plane.forecasts.models import Forecast


def running(forecasts: QuerySet[Forecast]) -> QuerySet[Forecast]:
    """Those of running periods of active budgets."""
    return forecasts.filter(budget__active=True, ends_at_ms__gt=now_ms())
