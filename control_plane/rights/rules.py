"""Who may see and change what: one rule for each kind of row, and nothing for a kind that is not here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Final, Literal

from django.apps import apps
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from control_plane.rights.person import Organizations, Person, Teams
from control_plane.rights.roles import ORGANIZATION_ROLES, Role

Action = Literal["view", "add", "change", "delete", "decide"]
# The fields that a role may change: some by name, or all.
Fields = frozenset[str] | None

ALL: Final[Fields] = None
_ADMIN: Final[frozenset[Role]] = frozenset({"platform_admin"})
_WIDE: Final[frozenset[Role]] = frozenset(ORGANIZATION_ROLES)
_ADMIN_AND_AUDITOR: Final[frozenset[Role]] = frozenset({"platform_admin", "auditor"})
_OF_TEAM: Final[frozenset[Role]] = frozenset({"owner", "member", "viewer"})
_OWNER: Final[frozenset[Role]] = frozenset({"owner"})
_EVERYBODY: Final[frozenset[Role]] = _WIDE | _OF_TEAM


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a kind of row belongs to organizations, teams and people, and which roles may do what with it.

    `organizations` and `teams` say which rows are of some organizations, or of some teams. A role of the organization
    reaches the rows of its organizations, a role of a team those of its teams; `own` is the path to the user whose
    own rows the roles of `own_actions` reach. `anyone_views` are the rows that all see who have any role in their
    organization. `change_of_given` is what goes for a row that has a given amount; `decide` is to say yes or no to
    what others ask for. `only` is what must hold of a row besides, whatever the role.
    """

    organizations: Callable[[Organizations], Q]
    teams: Callable[[Teams], Q] | None = None
    view: frozenset[Role] = _EVERYBODY
    anyone_views: Q | None = None
    add: frozenset[Role] = _ADMIN
    change: dict[Role, Fields] = field(default_factory=lambda: {"platform_admin": ALL})
    change_of_given: dict[Role, Fields] = field(default_factory=dict)
    delete: frozenset[Role] = frozenset()
    decide: frozenset[Role] = frozenset()
    own: str | None = None
    own_actions: dict[Action, frozenset[Role]] = field(default_factory=dict)
    only: dict[Action, Callable[[Person], Q]] = field(default_factory=dict)

    def roles(self, action: Action) -> frozenset[Role]:
        if action == "change":
            return frozenset(self.change)
        chosen: dict[Action, frozenset[Role]] = {
            "view": self.view,
            "add": self.add,
            "delete": self.delete,
            "decide": self.decide,
        }
        return chosen[action]

    def reach(self, person: Person, action: Action) -> Q | None:
        """The rows with which a person may do this; None for none."""
        roles = self.roles(action)
        parts = [self.organizations(person.organizations[role]) for role in roles if role in person.organizations]
        if self.teams is not None:
            parts += [self.teams(person.teams[role]) for role in roles if role in person.teams]
        if self.anyone_views is not None and action == "view" and person.all_organizations:
            parts.append(self.anyone_views & self.organizations(person.all_organizations))
        if self.own and any(person.has(role) for role in self.own_actions.get(action, ())):
            parts.append(self._own(person, action))
        if not parts:
            return None
        reached = reduce(or_, parts)
        return reached & self.only[action](person) if action in self.only else reached

    def _own(self, person: Person, action: Action) -> Q:
        """One's own rows; of a team's, what was made there is changed only while there is a role in it."""
        rows = Q(**{str(self.own): person.user_id}) & self.organizations(person.all_organizations)
        if action == "view" or self.teams is None:
            return rows
        held = [self.teams(person.teams[role]) for role in self.own_actions[action] if role in person.teams]
        return rows & reduce(or_, held, Q(pk__in=[]))


def _in(path: str) -> Callable[[Organizations], Q]:
    """Rows with a path to their organization's primary key."""
    return lambda organizations: Q(**{f"{path}__in": organizations.ids})


def _named_in(path: str = "organization") -> Callable[[Organizations], Q]:
    """Rows that name their organization by its slug."""
    return lambda organizations: Q(**{f"{path}__in": organizations.slugs})


def _of(path: str) -> Callable[[Teams], Q]:
    """Rows with a path to their team's primary key."""
    return lambda teams: Q(**{f"{path}__in": teams.ids})


def _named_of(team: str, organization: str = "organization") -> Callable[[Teams], Q]:
    """Rows that name their team by its slug."""

    def reach(teams: Teams) -> Q:
        named = Q(pk__in=[])
        for slug, names in teams.slugs.items():
            named |= Q(**{organization: slug, f"{team}__in": names})
        return named

    return reach


def _about(subject: str, scope: str, organization: str) -> Callable[[Teams], Q]:
    """Rows about a subject of a scope: the team itself, or one of its keys. What is about each team by itself is the
    organization's: it tells of others too.
    """

    def reach(teams: Teams) -> Q:
        keys = apps.get_model("keys", "VirtualKey")._default_manager.filter(team__in=teams.ids).order_by().values("pk")
        of_keys = Q(**{scope: "key", f"{subject}__in": keys})
        return Q(**{scope: "team"}) & _named_of(subject, organization)(teams) | of_keys

    return reach


def _users_of(place: str) -> Callable[[Organizations | Teams], Q]:
    """People with a membership in an organization or in a team."""

    def reach(places: Organizations | Teams) -> Q:
        memberships = apps.get_model("teams", "Membership")._default_manager.filter(**{f"{place}__in": places.ids})
        return Q(pk__in=memberships.order_by().values("user"))

    return reach


def _people_in(organizations: Organizations) -> Q:
    """People with a role in some organizations, and those of whom their directories have told."""
    entries = apps.get_model("identity", "DirectoryPerson")._default_manager.filter(organization__in=organizations.ids)
    return _users_of("organization")(organizations) | Q(pk__in=entries.order_by().values("user"))


def _audited_in(organizations: Organizations) -> Q:
    """Entries of the audit log of some organizations, and those about the people who belong to them."""
    memberships = apps.get_model("teams", "Membership")._default_manager.filter(organization__in=organizations.ids)
    people = memberships.order_by().annotate(user_text=Cast("user_id", TextField())).values("user_text")
    return Q(organization__in=organizations.slugs) | Q(organization="", kind="user", object_id__in=people)


def _of_nobody_else(person: Person) -> Q:
    """People who belong to no organization beyond those that the person administers, and without power over all."""
    administered = person.organizations.get("platform_admin", Organizations()).ids
    memberships = apps.get_model("teams", "Membership")._default_manager.exclude(organization__in=administered)
    entries = apps.get_model("identity", "DirectoryPerson")._default_manager.exclude(organization__in=administered)
    elsewhere = Q(pk__in=memberships.order_by().values("user")) | Q(pk__in=entries.order_by().values("user"))
    return Q(is_superuser=False) & ~elsewhere


def _acts_as_oneself_or_a_program(person: Person) -> Q:
    """Tokens that give nobody the rights of another person."""
    return Q(user=person.user_id) | Q(user__is_service=True)


def _asked_oneself(person: Person) -> Q:
    return Q(asked_by=person.user_id)


def _asked_from_below(person: Person) -> Q:
    """What others ask for whose organization the person administers, or whose team's department they own."""
    administered = person.organizations.get("platform_admin", Organizations()).ids
    above = Q(team__organization__in=administered) | Q(team__department__in=person.departments)
    return above & ~Q(asked_by=person.user_id)


def _departments_of(teams: Teams) -> Q:
    found = apps.get_model("teams", "Team")._default_manager.filter(pk__in=teams.ids).order_by()
    return Q(pk__in=found.values("department"))


def _catalogue(organization: str, *, view: frozenset[Role] = _WIDE, anyone_views: Q | None = None) -> Rule:
    return Rule(organizations=_in(organization), view=view, anyone_views=anyone_views)


# What happened: read by those whom it concerns, written by nobody.
_LEDGER: Final = Rule(organizations=_named_in(), teams=_named_of("team"), add=frozenset(), change={})


_SCOPED: Final = Rule(
    organizations=_in("organization"),
    teams=_about("subject", "scope", "organization__slug"),
    add=_ADMIN | _OWNER,
    change={"platform_admin": ALL, "owner": ALL},
    change_of_given={"platform_admin": ALL, "owner": frozenset({"amount"})},
)
_OF_BUDGET: Final = Rule(
    organizations=_in("budget__organization"),
    teams=_about("subject", "budget__scope", "budget__organization__slug"),
    add=frozenset(),
    change={},
)

RULES: Final[dict[str, Rule]] = {
    "teams.organization": Rule(organizations=_in("pk"), view=_WIDE, anyone_views=Q(), add=frozenset()),
    "teams.department": Rule(
        organizations=_in("organization"),
        teams=_departments_of,
        change={"platform_admin": ALL, "finance": frozenset({"cost_centre"})},
    ),
    "teams.team": Rule(
        organizations=_in("organization"),
        teams=_of("pk"),
        change={"platform_admin": ALL, "finance": frozenset({"cost_centre"})},
    ),
    "teams.membership": Rule(
        organizations=_in("organization"),
        teams=_of("team"),
        add=_ADMIN | _OWNER,
        change={"platform_admin": ALL, "owner": ALL},
        delete=_ADMIN | _OWNER,
        own="user",
        own_actions={"view": _EVERYBODY},
    ),
    "teams.user": Rule(
        organizations=_people_in,
        teams=_users_of("team"),
        view=_ADMIN_AND_AUDITOR | _OWNER,
        change={"platform_admin": frozenset({"first_name", "last_name", "email", "is_active", "password"})},
        own="pk",
        own_actions={"view": _EVERYBODY},
        only={"change": _of_nobody_else},
    ),
    "keys.virtualkey": Rule(
        organizations=_in("team__organization"),
        teams=_of("team"),
        add=_ADMIN | _OWNER | {"member"},
        change={"platform_admin": ALL, "owner": ALL},
        own="created_by",
        own_actions={"change": frozenset({"member"})},
    ),
    "budgets.budget": _SCOPED,
    "budgets.limit": _SCOPED,
    "budgets.budgetperiod": _OF_BUDGET,
    "budgets.extension": Rule(
        organizations=_OF_BUDGET.organizations,
        teams=_OF_BUDGET.teams,
    ),
    "budgets.extensionrequest": Rule(
        organizations=_in("team__organization"),
        teams=_of("team"),
        add=_ADMIN | _OWNER | {"member"},
        # Who asked may withdraw it; no field of it ever changes.
        change=dict.fromkeys(("platform_admin", "owner", "member"), frozenset()),
        decide=_ADMIN | _OWNER,
        only={"change": _asked_oneself, "decide": _asked_from_below},
    ),
    "forecasts.forecast": _OF_BUDGET,
    "catalog.provider": _catalogue("organization", view=_ADMIN_AND_AUDITOR),
    "catalog.model": _catalogue("organization", anyone_views=Q()),
    "catalog.deployment": _catalogue("model__organization", view=_ADMIN_AND_AUDITOR),
    "catalog.price": _catalogue("deployment__model__organization"),
    "catalog.discount": _catalogue("organization"),
    "routing.alias": Rule(organizations=_in("organization"), teams=_of("team"), anyone_views=Q(team=None)),
    "releases.release": Rule(organizations=_in("organization"), view=_ADMIN_AND_AUDITOR, add=frozenset(), change={}),
    "ledger.usageevent": _LEDGER,
    "ledger.hourrollup": _LEDGER,
    "ledger.dayrollup": _LEDGER,
    "ledger.teamday": _LEDGER,
    "ledger.modelday": Rule(organizations=_named_in(), view=_WIDE, add=frozenset(), change={}),
    "ledger.pairday": Rule(organizations=_named_in(), view=_WIDE, add=frozenset(), change={}),
    "ledger.dimensionhour": Rule(organizations=_named_in(), view=_WIDE, add=frozenset(), change={}),
    "ledger.refusalcount": _LEDGER,
    "ledger.deadletter": Rule(organizations=_named_in(), view=_ADMIN_AND_AUDITOR, add=frozenset(), change={}),
    "ledger.reconciliation": Rule(organizations=_named_in(), view=_WIDE, add=frozenset(), change={}),
    "alerts.webhook": _catalogue("organization", view=_ADMIN_AND_AUDITOR),
    "alerts.alert": Rule(
        organizations=_in("organization"),
        teams=_named_of("team", "organization__slug"),
        add=frozenset(),
        change={},
    ),
    "alerts.delivery": Rule(organizations=_in("webhook__organization"), view=_ADMIN_AND_AUDITOR, add=frozenset()),
    "audit.auditentry": Rule(
        organizations=_audited_in,
        teams=_named_of("team"),
        view=_ADMIN_AND_AUDITOR | _OWNER,
        add=frozenset(),
        change={},
    ),
    "identity.groupmapping": Rule(organizations=_in("organization"), view=_ADMIN_AND_AUDITOR, change={}, delete=_ADMIN),
    "identity.directoryperson": Rule(organizations=_in("organization"), view=_ADMIN_AND_AUDITOR),
    "identity.directorygroup": Rule(organizations=_in("organization"), view=_ADMIN_AND_AUDITOR, delete=_ADMIN),
    "api.apitoken": Rule(
        organizations=_in("organization"),
        view=_ADMIN_AND_AUDITOR,
        own="user",
        own_actions={"view": _EVERYBODY, "add": _EVERYBODY, "change": _EVERYBODY},
        only={"add": _acts_as_oneself_or_a_program},
    ),
}
