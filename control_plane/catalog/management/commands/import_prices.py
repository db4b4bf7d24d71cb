"""`manage.py import_prices`: the list prices that have changed, and with `--apply` into the price book with them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from control_plane.catalog.listed_prices import SOURCE
from control_plane.catalog.price_import import Finding, apply, look_up
from control_plane.teams.models import Organization


class Command(BaseCommand):
    help = "Show which list prices differ from the price book. Nothing is changed without --apply, nothing is fetched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", help="its slug; all organizations if not given")
        parser.add_argument("--deployment", type=int, action="append", help="its id; all deployments if not given")
        parser.add_argument("--replace-manual", action="store_true", help="replace prices that were set by hand too")
        parser.add_argument("--apply", action="store_true", help="add what is shown to the price book")

    def handle(
        self,
        *,
        organization: str | None,
        deployment: list[int] | None,
        replace_manual: bool,
        **options: Any,
    ) -> None:
        rows = Organization.objects.all()
        if organization is not None:
            rows = rows.filter(slug=organization)
            if not rows:
                raise CommandError(f"there is no organization {organization}")
        for row in rows:
            now = timezone.now()
            found = look_up(row.pk, now=now, replace_manual=replace_manual)
            chosen = [each for each in found if deployment is None or each.deployment.pk in deployment]
            for finding in chosen:
                self._show(finding)
            count = sum(len(finding.proposals) for finding in chosen)
            if options["apply"]:
                apply(row.pk, chosen, actor="import_prices", now=now)
            verb = "added to" if options["apply"] else "to add to"
            self.stdout.write(f"{row.slug}: {count} rows {verb} the price book, of {SOURCE}")

    def _show(self, finding: Finding) -> None:
        self.stdout.write(f"{finding.deployment} ({finding.deployment.pk}): {finding.remark}".rstrip(" :"))
        for proposal in finding.proposals:
            self.stdout.write("\n    ".join([f"  {proposal.when}:", *proposal.difference]))
