"""The alerts app; it listens for thresholds that the ledger hears of, what forecasts foresee, and keys that
fall due."""

from __future__ import annotations

from django.apps import AppConfig

from control_plane.forecasts.signals import exceeding_foreseen
from control_plane.keys.signals import keys_fall_due
from control_plane.ledger.signals import thresholds_crossed


class AlertsConfig(AppConfig):
    name = "control_plane.alerts"

    def ready(self) -> None:
        from control_plane.alerts.services import raise_alerts, raise_forecast_alert, raise_keys_alert

        thresholds_crossed.connect(raise_alerts, dispatch_uid="raise_alerts")
        keys_fall_due.connect(raise_keys_alert, dispatch_uid="raise_keys_alert")
        exceeding_foreseen.connect(raise_forecast_alert, dispatch_uid="raise_forecast_alert")
