"""The alerts app; it listens for thresholds that the ledger hears of."""

from __future__ import annotations

from django.apps import AppConfig

from control_plane.ledger.signals import thresholds_crossed


class AlertsConfig(AppConfig):
    name = "control_plane.alerts"

    def ready(self) -> None:
        from control_plane.alerts.services import raise_alerts

        thresholds_crossed.connect(raise_alerts, dispatch_uid="raise_alerts")
