"""Lua's values as Python holds them: a string is bytes, a table is a list or a dict, and an empty table is a list.

Every value that crosses between Kong, a Lua plugin and a plugin server has this form in between.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from minikong.errors import LuaFault

LuaValue: TypeAlias = "bool | int | float | bytes | list[LuaValue] | dict[LuaValue, LuaValue] | None"


def lua_type(value: LuaValue) -> str:
    """The name that Lua's `type` gives the value."""
    match value:
        case None:
            return "nil"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case bytes():
            return "string"
    return "table"


def lua_text(value: LuaValue) -> bytes:
    """What Lua's `tostring` makes of a string, number, boolean or nil."""
    match value:
        case bytes():
            return value
        case None:
            return b"nil"
        case bool():
            return b"true" if value else b"false"
    return b"%.14g" % value if isinstance(value, int | float) else b"table"


def from_python(value: Any) -> LuaValue:
    """The Lua form of what JSON, YAML or a schema holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {from_python(name): from_python(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [from_python(item) for item in value]
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    raise LuaFault(f"a {type(value).__name__} has no form in Lua")


def to_text(value: LuaValue) -> Any:
    """The same value with str for bytes, for JSON and for messages; bytes that are no UTF-8 come back unchanged."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {to_text(name): to_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_text(item) for item in value]
    return value


def encode_json(value: LuaValue) -> bytes:
    """JSON as lua-cjson writes it: strings byte for byte, an empty table as an object."""
    text = json.dumps(_with_empty_objects(to_text(value)), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def decode_json(text: bytes) -> LuaValue:
    """Read JSON; raises ValueError where it is none."""
    return from_python(json.loads(text))


def _with_empty_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _with_empty_objects(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_empty_objects(item) for item in value] or {}
    return value
