"""The api app."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "control_plane.api"

    def ready(self) -> None:
        from control_plane.api import description  # noqa: F401 - names the ways to authenticate
