"""`manage.py reprice`: give calls that had no price the one that the price book has by now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from control_plane.ledger.repricing import reprice
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable


class Command(BaseCommand):
    help = "Correct calls that had no price, in the ledger and in Redis. The worker does so each minute by itself."

    def handle(self, **_options: Any) -> None:
        for row in Organization.objects.all():
            try:
                count = reprice(row)
            except StoreUnavailable as error:
                raise CommandError(f"Redis cannot be reached: {error}") from error
            self.stdout.write(f"{row.slug}: {count} corrections")
