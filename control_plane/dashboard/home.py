"""The admin's first page: a home page for each role, and tabs for who has several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.utils import timezone

from control_plane.dashboard.finance import finance_page
from control_plane.dashboard.platform import platform_page
from control_plane.dashboard.requests import request_tables
from control_plane.dashboard.team import team_page
from control_plane.dashboard.view import View
from control_plane.rights.person import Person, person_of
from control_plane.rights.roles import Role
from control_plane.rights.scope import visible
from control_plane.teams.models import Organization

_ORGANIZATIONS_SHOWN: Final = 50


@dataclass(frozen=True, kw_only=True)
class Page:
    """A home page, and the roles whose home it is."""

    title: str
    template: str
    roles: frozenset[Role]
    content: Callable[[View], dict[str, Any]]


PAGES: Final = {
    "platform": Page(
        title="Platform",
        template="admin/home/platform.html",
        roles=frozenset({"platform_admin", "auditor"}),
        content=platform_page,
    ),
    "finance": Page(
        title="Finance",
        template="admin/home/finance.html",
        roles=frozenset({"finance", "platform_admin", "auditor"}),
        content=finance_page,
    ),
    "team": Page(
        title="Team",
        template="admin/home/team.html",
        roles=frozenset({"owner", "member", "viewer", "finance", "platform_admin", "auditor"}),
        content=team_page,
    ),
}


def pages_for(person: Person, organization: Organization) -> list[str]:
    """The pages that a person has in an organization, their home first."""
    own = [
        name
        for name, page in PAGES.items()
        if person.everything or any(person.has(role, organization.slug) for role in page.roles)
    ]
    is_only_finance = person.has("finance", organization.slug) and not person.has("platform_admin", organization.slug)
    return sorted(own, key=lambda name: name != "finance") if is_only_finance else own


def organization_of(request: HttpRequest, person: Person) -> tuple[Organization | None, list[Organization]]:
    """The organization that is asked about, by default the first, and all that the person sees."""
    organizations = list(visible(Organization.objects.all(), person)[:_ORGANIZATIONS_SHOWN])
    asked = request.GET.get("organization")
    first = organizations[0] if organizations else None
    return next((row for row in organizations if row.slug == asked), first), organizations


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback: adds what the template `admin/index.html` shows."""
    person = person_of(request.user)
    organization, organizations = organization_of(request, person)
    if organization is None:
        return context | {"home": None}
    names = pages_for(person, organization)
    if not names:
        return context | {"home": None}
    view = View(person=person, organization=organization, asked=request.GET, now=timezone.now())
    chosen = request.GET.get("page", "")
    name = chosen if chosen in names else names[0]
    page = PAGES[name]
    return context | {
        "home": page.content(view),
        "requests": {"tables": request_tables(view)},
        "home_template": page.template,
        "home_title": page.title,
        "organization": organization,
        "organizations": organizations if len(organizations) > 1 else [],
        "tabs": [(PAGES[each].title, view.link(page=each), each == name) for each in names],
    }
