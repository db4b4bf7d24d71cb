"""The identity app; it has `manage.py check` look whether anybody can come in."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class IdentityConfig(AppConfig):
    name = "control_plane.identity"

    def ready(self) -> None:
        from control_plane.identity.checks import check_a_way_in

        register(check_a_way_in)
