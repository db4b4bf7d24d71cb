"""The members of Google's requests, which it takes in two spellings, `maxOutputTokens` and `max_output_tokens`, and
its SDKs send in both: https://protobuf.dev/programming-guides/json/"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.checks import Check, check_of

_WORD_START: Final = re.compile(r"_([a-z0-9])")


def spellings(names: Iterable[str], where: str) -> dict[str, str]:
    """Each name in camel case, with how it is written.

    Raises:
        InvalidRequest: one is written in both ways, of which nobody knows which one counts.
    """
    found: dict[str, str] = {}
    for name in names:
        camel = _WORD_START.sub(lambda match: match[1].upper(), name)
        if camel in found:
            place = _place(where, camel)
            raise InvalidRequest(f"{place[:64]} is given twice, in two spellings.", param=place[:64])
        found[camel] = name
    return found


def fields_of(value: Any, where: str) -> dict[str, Any]:
    """The members of an object by their names in camel case; none where it is absent.

    Raises:
        InvalidRequest: it is no object, or names one twice.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where} must be an object.", param=where)
    return {camel: value[name] for camel, name in spellings(value, where).items()}


def body_fields(body: Body) -> dict[str, Any]:
    """The top-level members by their names in camel case. Raises: InvalidRequest."""
    return {camel: body.get(name) for camel, name in spellings(body.members, "").items()}


def check_fields(
    fields: Mapping[str, Any], where: str, checks: Mapping[str, Check], *, untouched: Collection[str]
) -> None:
    """Check every member that is not known to leave the price alone.

    Raises:
        InvalidRequest: a check says so, or nobody knows the member.
    """
    for name, value in fields.items():
        if name not in untouched:
            place = _place(where, name)
            check_of(checks, name, place)(value, place)


def items(value: Any, where: str) -> list[Any]:
    """The items of a list, for which Google also takes a single item. Raises: InvalidRequest."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list | None):
        raise InvalidRequest(f"{where} must be a list.", param=where)
    return value or []


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
