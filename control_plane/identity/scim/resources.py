"""People and groups as SCIM shows and writes them (RFC 7643).

Identity providers send many attributes that nothing here is made of, in the same request as those that matter: those
are passed over, since a refusal would leave somebody switched on whom the directory has switched off.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from control_plane.identity.models import DirectoryGroup
from control_plane.identity.scim.protocol import ScimError

USER_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
# The attribute → what of a person or their entry it is.
_TEXTS: Final = {
    "username": "username",
    "externalid": "external_id",
    "name.givenname": "first_name",
    "name.familyname": "last_name",
    "emails.value": "email",
}


def shown_person(user: Any, *, base: str) -> dict[str, Any]:
    """A person with their `entries` and `seen_groups` of the organization; `base` is SCIM's own address."""
    entry = next(iter(user.entries), None)
    body: dict[str, Any] = {
        "schemas": [USER_SCHEMA],
        "id": str(user.pk),
        "userName": user.username,
        "name": {"givenName": user.first_name, "familyName": user.last_name, "formatted": user.get_full_name()},
        "displayName": user.get_full_name() or user.username,
        "active": user.is_active and (entry is None or entry.active),
        "emails": [{"value": user.email, "type": "work", "primary": True}] if user.email else [],
        "groups": [
            {"value": str(group.pk), "display": group.name, "$ref": f"{base}/Groups/{group.pk}"}
            for group in user.seen_groups
        ],
        "meta": {
            "resourceType": "User",
            "created": user.date_joined.isoformat(),
            "location": f"{base}/Users/{user.pk}",
        },
    }
    return body | ({"externalId": entry.external_id} if entry and entry.external_id else {})


def shown_group(group: DirectoryGroup, *, base: str, with_members: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schemas": [GROUP_SCHEMA],
        "id": str(group.pk),
        "displayName": group.name,
        "meta": {
            "resourceType": "Group",
            "created": group.created_at.isoformat(),
            "location": f"{base}/Groups/{group.pk}",
        },
    }
    if group.external_id:
        body["externalId"] = group.external_id
    if with_members:
        body["members"] = [
            {"value": str(user.pk), "display": user.username, "$ref": f"{base}/Users/{user.pk}"}
            for user in group.members.all()
        ]
    return body


def person_changes(attributes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What attributes, by plain path, say of a person; a value of None takes one away.

    Raises:
        ScimError: a value is none of the attribute's.
    """
    changes: dict[str, Any] = {}
    for path, value in attributes:
        if path == "active":
            changes["active"] = truth(value)
        elif path == "name" and isinstance(value, dict):
            changes |= person_changes((f"name.{inner}", text) for inner, text in value.items())
        elif path == "emails":
            changes["email"] = _email(value)
        elif path in _TEXTS:
            changes[_TEXTS[path]] = text_of(path, value)
    return changes


def truth(value: Any) -> bool:
    """true or false; Entra ID also writes "True" and "False"."""
    word = value.lower() if isinstance(value, str) else value
    if word is True or word == "true":
        return True
    if word is False or word == "false":
        return False
    raise ScimError("invalidValue", "active is true or false.")


def text_of(path: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ScimError("invalidValue", f"{path} is a text.")
    return (value or "").strip()


def member_ids(value: Any) -> set[int]:
    """Whom a list of members names, by SCIM's ids of people."""
    listed = value if isinstance(value, list) else [value]
    found = [each.get("value") if isinstance(each, dict) else each for each in listed]
    if not all(isinstance(each, str) and each.isdecimal() and len(each) < 19 for each in found):
        raise ScimError("invalidValue", "Each of members has the id of a User as its value.")
    return {int(each) for each in found if isinstance(each, str)}


def _email(value: Any) -> str:
    """The primary address, else the one for work, else the first."""
    listed = value if isinstance(value, list) else [value] if value else []
    found = [each if isinstance(each, dict) else {"value": each} for each in listed]
    found.sort(key=lambda each: (each.get("primary") is not True, each.get("type") != "work"))
    return text_of("emails.value", found[0].get("value")) if found else ""
