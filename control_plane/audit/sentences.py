"""Entries as people read them: `alice raised budget Growth: amount $5,000.00 → $8,000.00`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from control_plane.amounts import amount_text, usd_text
from control_plane.audit.models import AuditEntry

_AMOUNTS: Final = frozenset({"amount", "given_amount", "carry_over_max"})
_SHOWN: Final = 4
_LONGEST: Final = 60
# A column that is set from nothing to something → what that is called.
_VERBS: Final = {"revoked_at": "revoked", "published_at": "published"}
# What the verb has said already where nothing else differs.
_SAID_BY_VERB: Final = frozenset({"revoked_at", "revoked_by_id", "published_at", "active"})


@dataclass(frozen=True)
class Difference:
    """One column of a row before and after."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)} → {_short(self.after)}"


def sentence(entry: AuditEntry) -> str:
    """Who did what, with the first few of what differs."""
    if entry.action == AuditEntry.Action.EMPTIED:
        return f"{entry.actor} emptied the table {entry.object_name}"
    said = f"{entry.actor} {_verb(entry)} {entry.kind.replace('_', ' ')} {entry.object_name}"
    if entry.action != AuditEntry.Action.CHANGED:
        return said
    if entry.after.keys() <= _SAID_BY_VERB:
        return said
    # What the organization has given follows the amount that it sets.
    followed = "given amount" if "amount" in entry.after else ""
    found = [difference for difference in differences(entry) if difference.name != followed]
    more = f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
    return f"{said}: {', '.join(map(str, found[:_SHOWN]))}{more}"


def differences(entry: AuditEntry) -> Iterator[Difference]:
    """What differs, by the names of the columns in alphabetical order."""
    for name in sorted(entry.before.keys() | entry.after.keys()):
        before, after = (_text(entry, name, side[name]) if name in side else "" for side in (entry.before, entry.after))
        yield Difference(name.replace("_", " "), before, after)


def _verb(entry: AuditEntry) -> str:
    if entry.action != AuditEntry.Action.CHANGED:
        return str(entry.action)
    for column, verb in _VERBS.items():
        if entry.before.get(column, "") is None and entry.after.get(column):
            return verb
    if entry.kind == "extension_request" and "state" in entry.after:
        return str(entry.after["state"])
    if entry.after.keys() == {"active"}:
        return "switched on" if entry.after["active"] else "switched off"
    before, after = entry.before.get("amount"), entry.after.get("amount")
    if isinstance(before, int) and isinstance(after, int):
        return "raised" if after > before else "lowered"
    return "changed"


def _text(entry: AuditEntry, name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, int):
        return _number_text(entry, name, value)
    return str(value)


def _number_text(entry: AuditEntry, name: str, value: int) -> str:
    if name.endswith("_nusd"):
        return "$" + usd_text(value, separator=",")
    if name in _AMOUNTS and entry.unit:
        unit: Any = entry.unit
        return amount_text(value, unit)
    return str(value) if name.endswith("id") else f"{value:,}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
