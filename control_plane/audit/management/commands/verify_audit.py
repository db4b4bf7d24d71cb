"""`manage.py verify_audit`: whether the audit log is as it was written."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from control_plane.audit.chain import chain_waiting, organizations, verify

_ANCHOR: Final = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})\Z")
# The chain of what belongs to no organization; no slug is a hyphen.
INSTALLATION: Final = "-"


def anchor(text: str) -> tuple[int, str]:
    """A sequence and its hash, as the command prints them."""
    if not (match := _ANCHOR.match(text)):
        raise ArgumentTypeError("write SEQUENCE:HASH, as this command prints it")
    return int(match[1]), match[2]


class Command(BaseCommand):
    help = "Walk the chain of each organization, name its first broken entry, and print an anchor to be kept elsewhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--organization", help=f"its slug, or {INSTALLATION} for what belongs to none; all if not given"
        )
        parser.add_argument(
            "--anchor",
            type=anchor,
            action="append",
            default=[],
            metavar="SEQUENCE:HASH",
            help="what this command has printed for the organization before; also finds that the end was cut off",
        )

    def handle(self, *, organization: str | None, anchor: list[tuple[int, str]], **_options: Any) -> None:
        if anchor and organization is None:
            raise CommandError("Say with --organization whose anchor this is.")
        chain_waiting()
        chosen = list(organizations()) if organization is None else ["" if organization == "-" else organization]
        broken = 0
        for slug in chosen:
            found = verify(slug, dict(anchor))
            name = slug or INSTALLATION
            if found.broken:
                broken += 1
                self.stderr.write(f"{name}: {found.broken}")
            elif found.head.sequence:
                self.stdout.write(f"{name} {found.head.sequence}:{found.head.hash}")
            else:
                raise CommandError(f"There is no entry of {name}.")
        if broken:
            raise CommandError("The audit log was tampered with, or restored from an older copy.", returncode=1)
