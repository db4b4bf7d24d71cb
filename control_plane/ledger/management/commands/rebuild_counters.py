"""`manage.py rebuild_counters`: what to run when Redis has lost what was spent."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from control_plane.ledger.rebuild import GATEWAYS_LOOK_WITHIN_S, RebuildError, rebuild
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable


class Command(BaseCommand):
    help = "Set the counters in Redis to what the ledger says, then let gateways admit calls again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", help="its slug; all organizations if not given")
        parser.add_argument(
            "--drained-within",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="how long to wait for the ledger to have read the whole stream (default: 60)",
        )
        parser.add_argument(
            "--gateways-look-within",
            type=float,
            default=GATEWAYS_LOOK_WITHIN_S,
            metavar="SECONDS",
            help="how long to wait for gateways to hold their running calls again; 0 where none runs (default: 3)",
        )

    def handle(
        self, *, organization: str | None, drained_within: float, gateways_look_within: float, **_options: Any
    ) -> None:
        rows = Organization.objects.all()
        if organization is not None:
            rows = rows.filter(slug=organization)
            if not rows:
                raise CommandError(f"there is no organization {organization}")
        for row in rows:
            try:
                corrected = rebuild(row, drained_within_s=drained_within, gateways_look_within_s=gateways_look_within)
            except RebuildError as error:
                raise CommandError(str(error)) from error
            except StoreUnavailable as error:
                raise CommandError(f"Redis cannot be reached: {error}") from error
            self.stdout.write(f"{row.slug}: {corrected} counters corrected, admission is open")
