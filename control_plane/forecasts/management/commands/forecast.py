"""`manage.py forecast`: calculate now on which day each budget will be used up."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from control_plane.forecasts.services import forecast_everything


class Command(BaseCommand):
    help = "Calculate every forecast now. The worker does so each hour by itself."

    def handle(self, **_options: Any) -> None:
        forecast_everything()
