"""JSON request bodies as top-level members with byte spans, and splices over the very bytes that arrived.

A body is read strictly, once, and never written anew: what Bursar does not change reaches the provider byte for
byte. Whatever two JSON readers could understand differently (RFC 8259 §4: duplicate names; NaN, a byte order mark,
UTF-16) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from kong_plugins.llm.errors import InvalidRequest


class Splice(NamedTuple):
    """Replace `length` bytes from `offset` by `replacement`, which is ASCII."""

    offset: int
    length: int
    replacement: str


class Member(NamedTuple):
    """A top-level member: its value as Python data, and the byte span [start, end) of the value."""

    value: Any
    start: int
    end: int


class Body(msgspec.Struct, frozen=True):
    """A JSON object as it arrived; `first_member_at` is the offset just behind its opening brace."""

    data: bytes
    members: dict[str, Member]
    first_member_at: int

    def get(self, name: str) -> Any:
        """The member's value; None where it is absent or null."""
        member = self.members.get(name)
        return None if member is None else member.value

    def span_bytes(self, name: str) -> int:
        """The length of the member's value in bytes; 0 where it is absent."""
        member = self.members.get(name)
        return 0 if member is None else member.end - member.start

    def splices(self, changes: Mapping[str, object]) -> tuple[Splice, ...]:
        """The splices that give each named member its new value, ascending; absent members are inserted in front."""
        replaced = [
            Splice(member.start, member.end - member.start, _dump(value))
            for name, value in changes.items()
            if (member := self.members.get(name)) is not None
        ]
        inserted = [f"{_dump(name)}:{_dump(value)}" for name, value in changes.items() if name not in self.members]
        if inserted:
            separator = "," if self.members else ""
            replaced.append(Splice(self.first_member_at, 0, ",".join(inserted) + separator))
        return tuple(sorted(replaced))


def parse_body(data: bytes) -> Body:
    """Read a request body.

    Raises:
        InvalidRequest: it is not one JSON object in UTF-8 that every reader understands in the same way.
    """
    try:
        text = data.decode()
        members, first_at = _top_level_members(text)
    except UnicodeDecodeError:
        raise InvalidRequest("The request body must be JSON in UTF-8.") from None
    except _NotAnObject:
        raise InvalidRequest("The request body must be a JSON object.") from None
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {_reason(error)}") from None
    return Body(data=data, members=members, first_member_at=first_at)


def first_members(text: str) -> dict[str, Any]:
    """The top-level members that are whole in `text`, the beginning of a JSON object that may be cut anywhere."""
    found: dict[str, Any] = {}
    try:
        for name, value, *_ in _members(text, _opening(text)):
            found.setdefault(name, value)
    except (ValueError, RecursionError):
        return found
    return found


def _top_level_members(text: str) -> tuple[dict[str, Member], int]:
    first_at = _opening(text)
    position = _BytePosition(text)
    first_byte = position.of(first_at)
    members: dict[str, Member] = {}
    for name, value, start, end in _members(text, first_at):
        if name in members:
            raise _twice(name)
        members[name] = Member(value, position.of(start), position.of(end))
    return members, first_byte


def _members(text: str, at: int) -> Iterator[tuple[str, Any, int, int]]:
    """Each member's name, value and character span, from just behind the opening brace to the end of the text."""
    at = _skip(text, at)
    if text[at : at + 1] == "}":
        return _expect_end(text, at + 1)
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        name, at = scanstring(text, at + 1, True)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        start = _skip(text, at + 1)
        value, end = _scan_value(text, start)
        at = _skip(text, end)
        delimiter = text[at : at + 1]
        if delimiter not in (",", "}"):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        yield name, value, start, end
        if delimiter == "}":
            return _expect_end(text, at + 1)
        at = _skip(text, at + 1)


class _Unclear(ValueError):
    """Text that Python's JSON reader would take, and that another reader would take otherwise."""


class _NotAnObject(ValueError):
    """The text begins with something else than an object, or with nothing."""


class _BytePosition:
    """Byte offsets of ascending character offsets, in one pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = "" if text.isascii() else text
        self._characters = 0
        self._bytes = 0

    def of(self, characters: int) -> int:
        if not self._text:
            return characters
        self._bytes += len(self._text[self._characters : characters].encode())
        self._characters = characters
        return self._bytes


def _opening(text: str) -> int:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise _NotAnObject
    return at + 1


def _expect_end(text: str, at: int) -> None:
    end = _skip(text, at)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _skip(text: str, at: int) -> int:
    match = _WHITESPACE.match(text, at)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


def _scan_value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _scan_once(text, at)  # type: ignore[no-any-return]
    except StopIteration as stop:
        raise json.JSONDecodeError("Expecting value", text, stop.value) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    names = [name for name, _ in pairs]
    raise _twice(next(name for name in names if names.count(name) > 1))


def _twice(name: str) -> _Unclear:
    return _Unclear(f"the name {_dump(name[:64])} occurs twice in one object.")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _Unclear("a number is out of range.")
    return number


def _no_constant(name: str) -> NoReturn:
    raise _Unclear(f"{name} is not a number in JSON.")


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _reason(error: ValueError) -> str:
    """What is wrong, in words that hold nothing of the body but a name or a position."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}."
    if isinstance(error, _Unclear):
        return str(error)
    return "an integer has too many digits."


_WHITESPACE: Final = re.compile(r"[ \t\n\r]*")
_scan_once: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant
).scan_once  # type: ignore[attr-defined]
