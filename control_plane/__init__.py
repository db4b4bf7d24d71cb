"""The Django project that administers: it writes what gateways enforce, and remembers what happened."""

from __future__ import annotations

from control_plane.celery import app as celery_app

__all__ = ["celery_app"]
