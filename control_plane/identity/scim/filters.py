"""Filters of SCIM lists, as far as identity providers send them: attributes that equal something, joined by `and`.

https://www.rfc-editor.org/rfc/rfc7644#section-3.4.2.2 has more; Okta sends `eq`, Entra ID `eq` and `and`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from control_plane.identity.scim.protocol import ScimError

_CORE: Final = re.compile(r"urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):")
_COMPARISON: Final = re.compile(
    r"\s*(?P<path>[a-z$][\w.:$-]*(?:\[[^\]]*\][\w.]*)?)\s+(?P<operator>[a-z]{2})\s+"
    r'(?P<value>"(?:[^"\\]|\\.)*"|[^\s"()]+)(?:\s+and(?=\s)|\s*\Z)',
    re.IGNORECASE,
)


def comparisons(text: str) -> Iterator[tuple[str, str]]:
    """The path, as `plain_path` has it, and the value of each comparison of a filter; all of them must hold.

    Raises:
        ScimError: it has anything else.
    """
    at = 0
    while at < len(text):
        found = _COMPARISON.match(text, at)
        if found is None or found["operator"].lower() != "eq":
            raise ScimError("invalidFilter", 'A filter is: attribute eq "value", or several with "and" between them.')
        yield plain_path(found["path"]), _value(found["value"])
        at = found.end()


def plain_path(path: str) -> str:
    """A path in lower case, without the core schema's name and without what it chooses by in brackets."""
    return re.sub(r"\[[^\]]*\]", "", _CORE.sub("", path.strip().lower()))


def _value(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        raise ScimError("invalidFilter", "The filter has a text that is not one of JSON.") from None
