"""Put every sealed credential under the first key of BURSAR_CREDENTIAL_KEY, and publish.

Give gateways and control plane the new key first (docs/credentials.md). Idempotent, and safe while everything runs.
It fails where a credential was sealed with a key that is not among those of the setting: enter that one anew.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from control_plane.releases.rotation import behind_rotation, publish_rotated, rotate
from kong_plugins.llm.credentials import credential_key_ids


class Command(BaseCommand):
    help = "put every sealed credential under the first key of BURSAR_CREDENTIAL_KEY, and publish"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fail if something is to be done")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            first, *others = credential_key_ids(settings.CREDENTIAL_KEY)
        except ValueError as error:
            raise CommandError(str(error)) from error
        found = rotate(check_only=options["check"])
        done = "to be moved" if options["check"] else "moved"
        self.stdout.write(f"under the key {first}: {found.stayed}; {done} to it: {found.moved}")
        for line in found.lost:
            self.stderr.write(line)
        if found.lost:
            raise CommandError(f"{len(found.lost)} cannot be moved: enter them anew, or add the key that sealed them")
        if options["check"] and found.moved:
            raise CommandError("some are under another key: run this command without --check")
        if not options["check"] and (behind := publish_rotated()):
            raise CommandError(f"not live yet, as Redis cannot be reached: {', '.join(behind)}; keep the old key")
        if behind := behind_rotation():
            raise CommandError(
                f"gateways may still need another key for {', '.join(behind)}: keep it, and run this command without "
                "--check once Redis can be reached"
            )
        if others:
            self.stdout.write(f"not needed any more: {', '.join(others)}")
