"""Header lines in their order, with names in lower case: HTTP compares them so, and uvicorn sends them so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from minikong.lua_values import LuaValue

DEFAULT_LIMIT: Final = 100


class Headers:
    """The header lines of one request or response; a name may come more than once."""

    __slots__ = ("lines",)

    def __init__(self, lines: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.lines: list[tuple[bytes, bytes]] = list(lines)

    def first(self, name: bytes) -> bytes | None:
        """The first value of a name, or None."""
        for present, value in self.lines:
            if present == name:
                return value
        return None

    def every(self, name: bytes) -> list[bytes]:
        """All values of a name, in order."""
        return [value for present, value in self.lines if present == name]

    def replace(self, name: bytes, *values: bytes) -> None:
        """Leave exactly these values of a name, in the place of its first line."""
        lines = self.lines
        place = next((index for index, (present, _) in enumerate(lines) if present == name), len(lines))
        rest = [line for line in lines[place:] if line[0] != name]
        self.lines = lines[:place] + [(name, value) for value in values] + rest

    def add(self, name: bytes, value: bytes) -> None:
        """Add one line at the end."""
        self.lines.append((name, value))

    def remove(self, *names: bytes) -> None:
        """Leave no line of these names."""
        self.lines = [line for line in self.lines if line[0] not in names]

    def table(self, limit: int = DEFAULT_LIMIT) -> dict[LuaValue, LuaValue]:
        """The form of `ngx.req.get_headers`: name → value, or the list of its values; at most `limit` lines."""
        table: dict[LuaValue, LuaValue] = {}
        for name, value in self.lines[: limit or None]:
            present = table.get(name)
            if present is None:
                table[name] = value
            elif isinstance(present, list):
                present.append(value)
            else:
                table[name] = [present, value]
        return table
