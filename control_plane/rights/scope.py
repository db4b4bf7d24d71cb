"""Which rows a person sees and changes. All pages of the admin and all addresses of the API ask here."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet

from control_plane.rights.person import Person
from control_plane.rights.rules import ALL, RULES, Action, Fields, Rule

Row = TypeVar("Row", bound=Model)


def visible(rows: QuerySet[Row], person: Person) -> QuerySet[Row]:
    """Those of the rows that the person may see."""
    return reachable(rows, person, "view")


def changeable(rows: QuerySet[Row], person: Person) -> QuerySet[Row]:
    """Those of the rows of which the person may change at least something."""
    return reachable(rows, person, "change")


def reachable(rows: QuerySet[Row], person: Person, action: Action) -> QuerySet[Row]:
    """Those of the rows with which the person may do this; `add` means that such a row may be made."""
    if person.everything:
        return rows
    rule = rule_of(rows.model)
    reach = rule.reach(person, action) if rule else None
    return rows.none() if reach is None else rows.filter(reach)


def may(person: Person, action: Action, model: type[Model]) -> bool:
    """Whether the person may do this with any row of the kind that there could be."""
    if person.everything:
        return True
    rule = rule_of(model)
    return rule is not None and rule.reach(person, action) is not None


def may_with(person: Person, action: Action, row: Model) -> bool:
    """Whether the person may do this with a row, as it lies in the database."""
    rows: QuerySet[Any] = type(row)._default_manager.filter(pk=row.pk)
    return person.everything or reachable(rows, person, action).exists()


def require(person: Person, action: Action, row: Model) -> None:
    """See that the person may do this with a row, as it lies in the database. Asked after a write, inside the
    transaction, it takes the write back.

    Raises:
        PermissionDenied: they may not.
    """
    if not may_with(person, action, row):
        raise PermissionDenied(f"You may not {action} this {type(row)._meta.verbose_name}.")


def changeable_fields(person: Person, row: Model) -> Fields:
    """The names of the fields of a row that the person may change; `ALL` (None) for all."""
    if person.everything:
        return ALL
    rule = rule_of(type(row))
    if rule is None or not may_with(person, "change", row):
        return frozenset()
    return _fields(rule, person, row)


def rule_of(model: type[Model]) -> Rule | None:
    """The rule of a kind of row; None for one that nobody but an operator has to do with."""
    return RULES.get(model._meta.label_lower)


def _fields(rule: Rule, person: Person, row: Model) -> Fields:
    given = rule.change_of_given if getattr(row, "given_amount", None) is not None else {}
    found: frozenset[str] = frozenset()
    for role, fields in (given or rule.change).items():
        if _reaches(rule, person, role, row):
            if fields is None:
                return ALL
            found |= fields
    return ALL if _is_own(rule, person, row) else found


def _reaches(rule: Rule, person: Person, role: Any, row: Model) -> bool:
    """Whether one role reaches the row."""
    only = Person(
        user_id=person.user_id,
        organizations={name: places for name, places in person.organizations.items() if name == role},
        teams={name: teams for name, teams in person.teams.items() if name == role},
    )
    reach = rule.reach(only, "change")
    return reach is not None and type(row)._default_manager.filter(reach, pk=row.pk).exists()


def _is_own(rule: Rule, person: Person, row: Model) -> bool:
    return (
        rule.own is not None
        and getattr(row, f"{rule.own}_id", row.pk) == person.user_id
        and any(person.has(role) for role in rule.own_actions.get("change", ()))
    )
