"""PATCH bodies (RFC 7644, section 3.5.2), in all the forms in which Okta and Entra ID send them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from control_plane.identity.scim.filters import plain_path
from control_plane.identity.scim.protocol import ScimError, folded

_VERBS: Final = ("add", "replace", "remove")
_CHOSEN: Final = re.compile(r'\[\s*value\s+eq\s+"([^"]*)"\s*\]', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One attribute's change; `chosen` is the value by which a path picks one of several."""

    verb: str
    path: str
    value: Any
    chosen: str | None = None


def operations(body: Any) -> Iterator[Operation]:
    """What a body asks for, one attribute each: an operation without a path names its attributes in its value.

    Raises:
        ScimError: it is no such body.
    """
    asked = folded(body).get("operations") if isinstance(body, dict) else None
    if not isinstance(asked, list) or not asked or not all(isinstance(each, dict) for each in asked):
        raise ScimError("invalidSyntax", "A PATCH has a list of Operations.")
    for each in asked:
        verb, path, value = str(each.get("op", "")).lower(), each.get("path"), each.get("value")
        if verb not in _VERBS:
            raise ScimError("invalidSyntax", "op is add, replace or remove.")
        if path is not None and not isinstance(path, str):
            raise ScimError("invalidPath", "path is a text.")
        if path:
            chosen = _CHOSEN.search(path)
            yield Operation(verb=verb, path=plain_path(path), value=value, chosen=chosen[1] if chosen else None)
        elif isinstance(value, dict) and verb != "remove":
            yield from (Operation(verb=verb, path=plain_path(name), value=inner) for name, inner in value.items())
        else:
            raise ScimError("noTarget", "An operation without a path has its attributes in value, and removes nothing.")
