"""Who somebody is: all memberships of a user, read once a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.db.models import Q

from control_plane.rights.roles import Role

_REMEMBERED: Final = "_person"


@dataclass(frozen=True)
class Teams:
    """Some teams, by their primary keys and, for rows that outlive them, by organization and slug."""

    ids: frozenset[int] = frozenset()
    slugs: dict[str, frozenset[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.ids)


@dataclass(frozen=True)
class Organizations:
    """Some organizations, by their primary keys and by their slugs."""

    ids: frozenset[int] = frozenset()
    slugs: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids)


@dataclass(frozen=True)
class Person:
    """A user with the organizations and teams of each role. One who may do `everything` needs no role."""

    user_id: int | None
    everything: bool = False
    organizations: dict[Role, Organizations] = field(default_factory=dict)
    teams: dict[Role, Teams] = field(default_factory=dict)
    # The primary keys of those that they own.
    departments: frozenset[int] = frozenset()
    # Those in which there is any role at all.
    all_organizations: Organizations = field(default_factory=Organizations)

    def has(self, role: Role, organization: str | None = None) -> bool:
        """Whether the role is held in an organization (its slug), or for any team in it; anywhere, if none is given."""
        wide = self.organizations.get(role, Organizations()).slugs
        narrow = self.teams.get(role, Teams()).slugs
        return bool(wide or narrow) if organization is None else organization in wide or organization in narrow

    @property
    def runs_something(self) -> bool:
        """Whether they administer an organization, or own a department or a team."""
        return self.has("platform_admin") or self.has("owner")

    def gives_in(self, organization: str) -> bool:
        """Whether the amounts of budgets and limits that they set are what an organization (its slug) gives to its
        teams, and not a team's own."""
        given_by = self.organizations.get("platform_admin", Organizations())
        return self.everything or organization in given_by.slugs

    def teams_seen(self, organization: str) -> frozenset[str] | None:
        """The slugs of the organization's teams in which there is a role; None where one is of all of it."""
        if self.everything or any(organization in places.slugs for places in self.organizations.values()):
            return None
        return frozenset[str]().union(*(teams.slugs.get(organization, ()) for teams in self.teams.values()))


NOBODY: Final = Person(user_id=None)


def person_of(user: Any) -> Person:
    """The person that a user is; nobody who is not logged in or was switched off has any right.

    It is remembered with the user object, of which every request has its own.
    """
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return NOBODY
    if user.is_superuser:
        return Person(user_id=user.pk, everything=True)
    known: Person | None = user.__dict__.get(_REMEMBERED)
    if known is None:
        known = user.__dict__[_REMEMBERED] = _resolve(user.pk)
    return known


def forget_person(user: Any) -> None:
    """Have the user's memberships read anew."""
    user.__dict__.pop(_REMEMBERED, None)


def _resolve(user_id: int) -> Person:
    memberships: list[Any] = list(
        apps.get_model("teams", "Membership")
        ._default_manager.filter(user=user_id)
        .order_by()
        .values_list("role", "organization_id", "organization__slug", "department_id", "team_id")
    )
    wide = [row for row in memberships if row[3] is None and row[4] is None]
    narrow = [row for row in memberships if row[3] is not None or row[4] is not None]
    return Person(
        user_id=user_id,
        organizations={
            role: _organizations(row for row in wide if row[0] == role) for role in {row[0] for row in wide}
        },
        teams=_teams_by_role(narrow),
        departments=frozenset(row[3] for row in narrow if row[3] is not None),
        all_organizations=_organizations(memberships),
    )


def _organizations(rows: Iterable[Any]) -> Organizations:
    found = {(row[1], row[2]) for row in rows}
    return Organizations(frozenset(pk for pk, _ in found), frozenset(slug for _, slug in found))


def _teams_by_role(rows: list[Any]) -> dict[Role, Teams]:
    """The teams of each role; the owner of a department owns its teams."""
    if not rows:
        return {}
    departments = {row[3] for row in rows if row[3] is not None}
    named = {row[4] for row in rows if row[4] is not None}
    found = list(
        apps.get_model("teams", "Team")
        ._default_manager.filter(Q(pk__in=named) | Q(department__in=departments))
        .order_by()
        .values_list("pk", "department_id", "organization__slug", "slug")
    )
    by_role: dict[Role, Teams] = {}
    for role in {row[0] for row in rows}:
        ids = {row[4] for row in rows if row[0] == role}
        parents = {row[3] for row in rows if row[0] == role} - {None}
        by_role[role] = _teams(team for team in found if team[0] in ids or team[1] in parents)
    return by_role


def _teams(rows: Iterable[Any]) -> Teams:
    ids, slugs = set(), dict[str, set[str]]()
    for pk, _, organization, slug in rows:
        ids.add(pk)
        slugs.setdefault(organization, set()).add(slug)
    return Teams(frozenset(ids), {organization: frozenset(names) for organization, names in slugs.items()})
