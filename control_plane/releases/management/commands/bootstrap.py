"""Make an organization, its administrator and an API token, publish, and let gateways admit calls.

Idempotent. Prints one line of JSON:

    {"organization": slug, "admin": {"username", "password"}, "api_token", "ready"}

`password` and `api_token` are there only when this run made them up, else null: what was given by
BURSAR_ADMIN_PASSWORD or BURSAR_API_TOKEN (or a file named by …_FILE) is made true, and never echoed.
`ready` is false when Redis has lost its counters: `manage.py rebuild_counters` brings them back.
"""

from __future__ import annotations

import json
import os
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from control_plane.api.services import agree_on_token
from control_plane.releases.services import publish_at_start
from control_plane.teams.models import Organization, User
from control_plane.teams.services import create_organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.settings import secret_from

_TOKEN_NAME = "bootstrap"


class Command(BaseCommand):
    help = "Make an organization, its administrator and an API token, and let gateways admit calls."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", required=True, help="the organization's slug")
        parser.add_argument("--name", help="its name; the slug if not given")
        parser.add_argument("--time-zone", default="UTC", help="in which its budgets' periods begin and end")
        parser.add_argument("--username", default="admin", help="the administrator's user name")

    def handle(self, **options: Any) -> None:
        try:
            with transaction.atomic():
                organization = self._organization(options)
                user, password = self._administrator(options["username"])
                token = agree_on_token(
                    user_id=user.pk,
                    organization_id=organization.pk,
                    name=_TOKEN_NAME,
                    token=_given("BURSAR_API_TOKEN"),
                )
            ready = publish_at_start(organization.pk)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except StoreUnavailable as error:
            raise CommandError(f"Redis cannot be reached: {error}") from error
        if not ready:
            self.stderr.write("Redis has lost its counters; gateways refuse until `manage.py rebuild_counters`.")
        admin = {"username": user.username, "password": password}
        self.stdout.write(
            json.dumps({"organization": organization.slug, "admin": admin, "api_token": token, "ready": ready})
        )

    def _organization(self, options: dict[str, Any]) -> Organization:
        existing = Organization.objects.filter(slug=options["organization"]).first()
        return existing or create_organization(
            slug=options["organization"],
            name=options["name"] or options["organization"],
            time_zone=options["time_zone"],
            actor=options["username"],
        )

    def _administrator(self, username: str) -> tuple[User, str | None]:
        """The administrator, and the password if it was made up."""
        given = _given("BURSAR_ADMIN_PASSWORD")
        user = User.objects.filter(username=username).first()
        if user is None:
            password = given or secrets.token_urlsafe(15)
            user = User.objects.create_superuser(username, password=password)
            return user, None if given else password
        if given and not user.check_password(given):
            user.set_password(given)
            user.save(update_fields=["password"])
        return user, None


def _given(name: str) -> str | None:
    """A secret of the environment, or None where it is not set."""
    return secret_from(os.environ, name) if os.environ.get(name) or os.environ.get(f"{name}_FILE") else None
