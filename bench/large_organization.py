"""An organization of many teams and keys, for measurements: written straight into a system's database, since what is
measured is what comes after. Runs as a program of its own with the control plane's environment.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from control_plane.budgets.models import Budget  # noqa: E402
from control_plane.keys.models import VirtualKey  # noqa: E402
from control_plane.live import live_state  # noqa: E402
from control_plane.releases.services import publish_everything  # noqa: E402
from control_plane.teams.models import Organization, Team  # noqa: E402
from kong_plugins.llm.keys import issue_key, key_digest  # noqa: E402

_BATCH: Final = 5_000
_CAP_NUSD: Final = 1_000_000_000_000


def main(teams: int, keys: int) -> None:
    """Make the rows, empty Redis, publish; print a line of JSON with the seconds of each, and a key that must work."""
    organization = Organization.objects.get()
    began_s = time.monotonic()
    full_key = _make(organization, teams, keys)
    made_s = time.monotonic()
    live_state().connection.call(live_state().connection.redis.flushdb)
    emptied_s = time.monotonic()
    publish_everything(organization.pk)
    published_s = time.monotonic()
    # A Redis that was emptied admits again only when its counters are back.
    call_command("rebuild_counters", stdout=sys.stderr)
    rebuilt_s = time.monotonic()
    key_id = full_key.split("_")[1]
    print(
        json.dumps(
            {
                "rows_s": made_s - began_s,
                "publish_s": published_s - emptied_s,
                "rebuild_s": rebuilt_s - published_s,
                "key": full_key,
                "key_id": key_id,
                "behind": VirtualKey.objects.exclude(published_version=1).count(),
            }
        )
    )


def _make(organization: Organization, teams: int, keys: int) -> str:
    """Return one of the keys."""
    made = Team.objects.bulk_create(_teams(organization, teams), batch_size=_BATCH)
    Budget.objects.bulk_create(_budgets(organization, made), batch_size=_BATCH)
    full_key = ""
    rows = []
    for number in range(keys):
        key_id, full_key = issue_key()
        # Only the last is ever shown to a gateway: an HMAC each would be most of the work.
        digest = key_digest(full_key, settings.KEY_PEPPER) if number == keys - 1 else secrets.token_hex(32)
        rows.append(VirtualKey(id=key_id, team=made[number % teams], name=f"key {number}", digest=digest))
    VirtualKey.objects.bulk_create(rows, batch_size=_BATCH)
    return full_key


def _teams(organization: Organization, number: int) -> Iterator[Team]:
    return (Team(organization=organization, slug=f"large-{n}", name=f"Large {n}") for n in range(number))


def _budgets(organization: Organization, teams: list[Team]) -> Iterator[Budget]:
    fields: dict[str, Any] = {"organization": organization, "scope": "team", "amount": _CAP_NUSD, "period": "month"}
    return (Budget(name=f"{team.name}, monthly", subject=team.slug, **fields) for team in teams)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
