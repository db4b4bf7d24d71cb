"""The way in when the identity provider is away, or has locked everybody out."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from control_plane.identity.views import LINK_SECONDS, BreakGlassTokens
from control_plane.teams.models import User


class Command(BaseCommand):
    """Writes the path of a link by which a person logs in once, whatever BURSAR_LOCAL_LOGIN says."""

    help = "Write a link by which a person logs in once, without password and identity provider."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"], is_active=True, is_service=False).first()
        if user is None:
            raise CommandError("There is no active person of this name.")
        path = reverse("break_glass", args=[user.pk, BreakGlassTokens().make_token(user)])
        self.stdout.write(path)
        self.stderr.write(f"Open it on Bursar's own address within {LINK_SECONDS // 60} minutes; it works once.")
