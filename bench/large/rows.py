"""Fills the database of the large organization. A program of its own, with the control plane's environment."""

from __future__ import annotations

import json
import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402
from tqdm import tqdm  # noqa: E402

from bench.large.calls import write_calls  # noqa: E402
from bench.large.databases import SEEDED  # noqa: E402
from bench.large.happenings import make_happenings  # noqa: E402
from bench.large.indexes import without_indexes  # noqa: E402
from bench.large.organization import make_organization  # noqa: E402
from bench.large.size import size_from  # noqa: E402
from bench.large.sums import add_up_days, add_up_hours, check_sums, days  # noqa: E402
from control_plane.audit.chain import chain_waiting  # noqa: E402
from control_plane.forecasts.tasks import forecast  # noqa: E402
from control_plane.teams.models import Organization  # noqa: E402


def main() -> None:
    size = size_from(os.environ)
    began_s = time.monotonic()
    _say(f"{size.teams:,} teams and {size.keys:,} keys")
    callers = make_organization(size)
    organization = Organization.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    with without_indexes("ledger_usageevent"):
        with tqdm(total=size.rows, unit=" rows", unit_scale=True, desc="ledger", mininterval=1) as bar:
            write_calls(callers, size.rows, size.days, timezone.now(), bar.update)
        _say("the indexes of the ledger")
    _say("sums of hours")
    with without_indexes("ledger_hourrollup"):
        add_up_hours(organization.time_zone)
    with tqdm(total=len(days()), unit=" days", desc="sums of days", mininterval=1) as bar:
        add_up_days(bar.update)
    make_happenings(organization)
    _say("the proof that all sums are those of the ledger")
    check_sums()
    _say("the audit log's chain")
    chain_waiting()
    _say("publishing, and Redis' counters")
    call_command("rebuild_counters", stdout=sys.stderr)
    forecast()
    _say("statistics")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    seconds = round(time.monotonic() - began_s)
    SEEDED.write_text(json.dumps(size.as_environment() | {"seconds": seconds}) + "\n")
    _say(f"done in {seconds} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
