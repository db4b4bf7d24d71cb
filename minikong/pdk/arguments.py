"""The checks of arguments that PDK functions share (kong/pdk/private/checks.lua)."""

from __future__ import annotations

from minikong.errors import LuaFault
from minikong.lua_values import LuaValue, lua_text, lua_type

_MOST_HEADERS = 1000


def string(value: LuaValue, what: str) -> bytes:
    """A string, or a LuaFault that says what had to be one."""
    if not isinstance(value, bytes):
        raise LuaFault(f"{what} must be a string")
    return value


def text(value: LuaValue, what: str) -> str:
    """A string, as text whose characters are its bytes."""
    return string(value, what).decode("latin-1")


def integer(value: LuaValue, what: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise LuaFault(f"{what} must be an integer")
    if not lowest <= value <= highest:
        raise LuaFault(f"{what} must be an integer between {lowest} and {highest}: given {value}")
    return int(value)


def limit(value: LuaValue, default: int) -> int:
    """How many headers or arguments are asked for at most."""
    return default if value is None else integer(value, "the maximum", 1, _MOST_HEADERS)


def header_name(value: LuaValue) -> bytes:
    """A header's name in lower case."""
    return string(value, "header name").lower()


def header_values(name: bytes, value: LuaValue) -> list[bytes]:
    """The values to set for one header: a number or boolean as text, an empty value as a space, as Kong sends them."""
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, list | dict) or item is None or (value is values and not isinstance(item, bytes)):
            raise LuaFault(
                f'invalid header value for "{name.decode("latin-1")}": got {lua_type(item)}, '
                "expected array of string, string, number or boolean"
            )
    return [lua_text(item) or b" " for item in values]


def header_lines(value: LuaValue) -> list[tuple[bytes, list[bytes]]]:
    """The headers of a table, checked as a whole before any of them is set."""
    if value == []:
        return []
    if not isinstance(value, dict):
        raise LuaFault("headers must be a table")
    return [(header_name(name), header_values(header_name(name), item)) for name, item in value.items()]
