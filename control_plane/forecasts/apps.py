"""The forecasts app."""

from __future__ import annotations

from django.apps import AppConfig


class ForecastsConfig(AppConfig):
    name = "control_plane.forecasts"
