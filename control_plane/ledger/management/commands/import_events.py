"""`manage.py import_events`: puts calls of the past into the ledger, from before Bursar counted them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from control_plane.leases import lease
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.ingest import take
from control_plane.ledger.partitions import ensure_months
from control_plane.ledger.rows import instant_of
from control_plane.teams.models import Organization
from kong_plugins.llm.events import UsageEvent

_AT_ONCE: Final = 2_000


class Command(BaseCommand):
    help = (
        "Put usage events of the past into the ledger: a JSON object a line, as gateways write them "
        "(kong_plugins/llm/events.py). What the ledger holds already adds nothing. "
        "Redis learns of what they cost by `manage.py rebuild_counters`, which is to be run next."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--organization", required=True, help="its slug; every event must be of it")

    def handle(self, *, file: Path, organization: str, **_options: Any) -> None:
        if not Organization.objects.filter(slug=organization).exists():
            raise CommandError(f"there is no organization {organization}")
        try:
            total = sum(1 for _ in _events(file, organization))  # all is read before anything is written
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from error
        events, done, taken = _events(file, organization), 0, 0
        while batch := list(islice(events, _AT_ONCE)):
            ensure_months(instant_of(event.reserved_at_ms) for event in batch)
            with transaction.atomic():
                taken += take(organization, batch)
            done += len(batch)
            self.stdout.write(f"{done:,} of {total:,} events")
        with lease("aggregate_days") as free:
            if free:
                aggregate_stale_days()
        self.stdout.write(f"{taken:,} were new. Run manage.py rebuild_counters now.")


def _events(file: Path, organization: str) -> Iterator[UsageEvent]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                event = msgspec.json.decode(line, type=UsageEvent)
            except ValueError as error:
                raise CommandError(f"line {number} is no usage event: {error}") from error
            if event.organization != organization:
                raise CommandError(f"line {number} is of the organization {event.organization}, not {organization}")
            if event.uncounted:
                raise CommandError(f"line {number}: what is uncounted comes from gateways only")
            yield event
