"""The keys app; it ends the keys of people who leave."""

from __future__ import annotations

from django.apps import AppConfig

from control_plane.teams.signals import person_left


class KeysConfig(AppConfig):
    name = "control_plane.keys"

    def ready(self) -> None:
        from control_plane.keys.services import revoke_personal_keys

        person_left.connect(revoke_personal_keys, dispatch_uid="revoke_personal_keys")
