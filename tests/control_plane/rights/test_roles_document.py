"""docs/roles.md says what the rules say."""

from __future__ import annotations

from typing import Final

from django.apps import apps

from control_plane.rights.roles import ROLES, Role
from control_plane.rights.rules import RULES, Rule
from stack.programs import REPOSITORY

_DOCUMENT: Final = REPOSITORY / "docs" / "roles.md"


def test_the_table_of_the_document_is_what_the_rules_say() -> None:
    written = [line for line in _DOCUMENT.read_text().splitlines() if line.startswith("| ")]

    assert "\n".join(written) == table()


def table() -> str:
    heads = ["", *(label for _, label in ROLES)]
    rows = sorted([_name(kind), *(_may(rule, role) for role, _ in ROLES)] for kind, rule in RULES.items())
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, *rows])


def _name(kind: str) -> str:
    return str(apps.get_model(kind)._meta.verbose_name_plural)


def _may(rule: Rule, role: Role) -> str:
    own = {action for action, roles in rule.own_actions.items() if role in roles}
    some = rule.change.get(role, frozenset())
    words = {
        "sees": role in rule.view,
        "sees the shared": role not in rule.view and rule.anyone_views is not None,
        "adds": role in rule.add,
        "changes": role in rule.change and some is None,
        f"changes {', '.join(sorted(some or ()))}": bool(some),
        "deletes": role in rule.delete,
        "decides": role in rule.decide,
        "sees own": "view" in own and role not in rule.view,
        "adds own": "add" in own and role not in rule.add,
        "changes own": "change" in own and role not in rule.change,
        "withdraws own": role in rule.change and some == frozenset(),
    }
    return ", ".join(word for word, holds in words.items() if holds) or "–"
