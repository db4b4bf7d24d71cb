"""The one LuaJIT of the process: it finds and runs Lua plugins, and holds kong.ctx of every request."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from lupa.luajit21 import LuaError, LuaRuntime, lua_type

from minikong import pdk, phase
from minikong.errors import LuaFault, PluginError
from minikong.exchange import Exchange
from minikong.lua_values import LuaValue

_DEEPEST: Final = 100


class Lua:
    """LuaJIT with the globals `kong` and `ngx`. Strings are bytes on the Python side."""

    def __init__(self, package_path: str) -> None:
        self._runtime = LuaRuntime(
            encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False
        )
        # Whose handler runs. Handlers never wait, so there is one at a time.
        self._exchange: Exchange | None = None
        source = resources.files("minikong").joinpath("lua/runtime.lua").read_bytes()
        functions = self._runtime.table_from(
            {
                b"names": " ".join(sorted(name for name in pdk.functions if name != "kong.log")).encode(),
                b"pdk": self._call_pdk,
                b"variable": self._variable,
                b"plugin_id": self._plugin_id,
                b"phase_name": self._phase_name,
                b"crc32_long": zlib.crc32,
                b"now": lambda: round(time.time(), 3),
            }
        )
        self._driver: Any = self._runtime.compile(source, name=b"=minikong")(functions)
        self._driver[b"set_package_path"](package_path.encode())

    def is_installed(self, module: str) -> bool:
        """Whether the package path has a module of this name."""
        return bool(self._driver[b"is_installed"](module.encode()))

    def load(self, module: str) -> Any:
        """The table that a module returns; raises PluginError where it does not load."""
        try:
            return self._driver[b"load"](module.encode())
        except LuaError as error:
            raise PluginError(f"{module}: {error}") from error

    def find(self, pattern: str, text: str) -> bool:
        """Whether a Lua pattern is found in a text."""
        return bool(self._driver[b"find"](pattern.encode(), text.encode()))

    def unpacked(self, arguments: list[LuaValue]) -> list[LuaValue]:
        """What is left of arguments when Lua unpacks them: a nil among them can cut off what follows."""
        if None not in arguments:
            return arguments
        present = b"".join(b"0" if argument is None else b"1" for argument in arguments)
        return arguments[: self._driver[b"argument_count"](present)]

    def run_until_exit(self, handler: Any, phase_name: str, conf: Any, exchange: Exchange) -> None:
        """Run a handler that may leave by kong.response.exit; raises LuaFault where it raises."""
        self._run(b"run_until_exit", exchange, handler, phase_name.encode(), conf, self.state(exchange))

    def run(self, handler: Any, phase_name: str, conf: Any, exchange: Exchange) -> None:
        """Run a handler of a later phase; raises LuaFault where it raises."""
        self._run(b"run", exchange, handler, phase_name.encode(), conf, self.state(exchange))

    def run_body_filter(
        self, handler: Any, conf: Any, exchange: Exchange, chunk: bytes, is_last: bool
    ) -> tuple[bytes, bool]:
        """Run a body filter with `ngx.arg`; returns what it has made of the chunk, and whether it is the last one."""
        _, text, ends = self._run(b"run_body_filter", exchange, handler, conf, self.state(exchange), chunk, is_last)
        return text, ends

    def state(self, exchange: Exchange) -> Any:
        """The Lua table of a request: shared, ctx, plugins."""
        if exchange.lua_state is None:
            exchange.lua_state = self._driver[b"new_state"]()
        return exchange.lua_state

    def get(self, exchange: Exchange, store: bytes, key: LuaValue) -> LuaValue:
        """A value in `shared` or `ctx`, copied out of Lua; raises LuaFault where it is more than data."""
        return from_lua(self.state(exchange)[store][key])

    def set(self, exchange: Exchange, store: bytes, key: LuaValue, value: LuaValue) -> None:
        """Put a copy of a value into `shared` or `ctx`."""
        if key is None:
            raise LuaFault("index is nil")
        self.state(exchange)[store][key] = self.to_lua(value)

    def to_lua(self, value: LuaValue) -> Any:
        """The value as Lua holds it."""
        if isinstance(value, dict):
            return self._runtime.table_from({name: self.to_lua(item) for name, item in value.items()})
        if isinstance(value, list):
            return self._runtime.table_from([self.to_lua(item) for item in value])
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def _run(self, function: bytes, exchange: Exchange, *arguments: Any) -> Sequence[Any]:
        self._exchange = exchange
        try:
            result: Sequence[Any] = self._driver[function](*arguments)
        finally:
            self._exchange = None
        if not result[0]:
            raise LuaFault(result[1].decode("utf-8", "replace"))
        return result

    def _current(self) -> Exchange:
        if self._exchange is None:
            raise LuaFault("there is no request")
        return self._exchange

    def _call_pdk(self, name: bytes, *arguments: Any) -> Any:
        try:
            result = pdk.call(name.decode(), self._current(), [from_lua(argument) for argument in arguments])
        except LuaFault as fault:
            return False, str(fault).encode("utf-8", "surrogateescape")
        results = result if isinstance(result, tuple) else (result,)
        return True, *[self.to_lua(value) for value in results]

    def _variable(self, name: bytes) -> LuaValue:
        return pdk.nginx.variable(self._current(), name.decode("latin-1"))

    def _phase_name(self) -> bytes:
        return phase.NAMES[self._current().phase].encode()

    def _plugin_id(self) -> bytes:
        plugin = self._current().plugin
        return plugin.id.encode() if plugin else b""


def from_lua(value: Any, depth: int = 0) -> LuaValue:
    """A copy of what Lua holds: keys 1…n make a list, other keys a dict, an empty table is a list.

    Raises LuaFault for a function, a coroutine or a foreign object, which have no form outside Lua.
    """
    if value is None or isinstance(value, bytes | int | float):
        return value
    kind = lua_type(value)
    if kind != "table":
        raise LuaFault(f"pack '{kind or type(value).__name__}' is unimplemented")
    if depth > _DEEPEST:
        raise LuaFault("stack overflow")
    entries = {name: from_lua(item, depth + 1) for name, item in value.items()}
    if all(isinstance(name, int) and name > 0 for name in entries) and max(entries, default=0) == len(entries):
        return [entries[index] for index in range(1, len(entries) + 1)]
    return entries
