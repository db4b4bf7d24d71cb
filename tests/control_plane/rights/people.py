"""One person of each role. All of them but the stranger belong to red, or to the organization of red and blue."""

from __future__ import annotations

from typing import Any, Final

from django.test import Client

from control_plane.api.services import issue_token
from control_plane.teams.models import Department, Membership, Organization, Team, User
from tests.control_plane.rights.world import World

# The role → what of others must never be in an answer.
FOREIGN: Final[dict[str, tuple[str, ...]]] = {
    "superuser": (),
    "platform_admin": ("green",),
    "finance": ("green",),
    "auditor": ("green",),
    "department_owner": ("blue", "green"),
    "owner": ("blue", "green"),
    "member": ("blue", "green"),
    "viewer": ("blue", "green"),
    "service_owner": ("blue", "green"),
    "service_member": ("blue", "green"),
    "service_platform_admin": ("green",),
    "nobody": ("red", "blue", "green"),
    "stranger": ("red", "blue"),
    "anonymous": ("red", "blue", "green"),
}
# Who may change nothing at all.
READERS: Final = ("auditor", "viewer", "nobody", "anonymous")


def client_of(role: str, world: World) -> tuple[Client, Client]:
    """The browser and the program of somebody with the role."""
    browser, program = Client(raise_request_exception=False), Client(raise_request_exception=False)
    if role == "anonymous":
        return browser, program
    colour = "green" if role == "stranger" else "red"
    organization, team = world.of(Organization, colour), world.of(Team, colour)
    is_service = role.startswith("service_")
    user = User(
        username=f"somebody-{role}", is_superuser=role == "superuser", is_staff=not is_service, is_service=is_service
    )
    user.save()
    held = "owner" if role == "stranger" else role.removeprefix("service_")
    place: dict[str, Any] = {"role": held}
    if held in ("owner", "member", "viewer"):
        place["team"] = team
    elif held == "department_owner":
        place = {"role": "owner", "department": world.of(Department, colour)}
    if held not in ("nobody", "superuser"):
        Membership(user=user, organization=organization, **place).save()
    if not is_service:
        browser.force_login(user)
    _, token = issue_token(user_id=user.pk, organization_id=organization.pk, name=f"of {role}")
    program.defaults["HTTP_AUTHORIZATION"] = f"Token {token}"
    return browser, program
