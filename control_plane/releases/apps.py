"""The releases app; it listens for changes of what it publishes."""

from __future__ import annotations

from django.apps import AppConfig

from control_plane.live import organization_changed


class ReleasesConfig(AppConfig):
    name = "control_plane.releases"

    def ready(self) -> None:
        from control_plane.releases.services import publish_after_commit

        organization_changed.connect(publish_after_commit, dispatch_uid="publish_after_commit")
