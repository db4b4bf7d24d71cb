"""Plugins in Lua: the modules kong.plugins.NAME.handler and .schema on the package path."""

from __future__ import annotations

import re
from typing import Any, Final

from minikong import phase
from minikong.errors import LuaFault, PluginError
from minikong.exchange import Exchange
from minikong.lua_runtime import Lua, from_lua
from minikong.lua_values import to_text
from minikong.plan import ConfiguredPlugin
from minikong.schema import PluginSchema

_HANDLERS: Final = {
    "rewrite": phase.REWRITE,
    "access": phase.ACCESS,
    "header_filter": phase.HEADER_FILTER,
    "body_filter": phase.BODY_FILTER,
    "log": phase.LOG,
}
_NOT_HERE: Final = ("certificate", "configure", "init_worker", "preread", "response", "ws_handshake")


class LuaPlugin:
    """A plugin that runs inside minikong, as it runs inside nginx."""

    def __init__(self, lua: Lua, name: str) -> None:
        """Raises PluginError where a module does not load or does what minikong does not do."""
        self._lua = lua
        self._handler: Any = lua.load(f"kong.plugins.{name}.handler")
        self.name = name
        self.version = str(to_text(self._field(b"VERSION")))
        self.priority = checked_priority(name, self._field(b"PRIORITY"))
        check_version(name, self.version)
        unsupported = [handler for handler in _NOT_HERE if self._field(handler.encode()) is not None]
        if unsupported:
            raise PluginError(f"plugin {name}: minikong does not do the phase {', '.join(unsupported)}")
        self.phases = sum(bit for handler, bit in _HANDLERS.items() if self._field(handler.encode()) is not None)
        self.schema = self._read_schema()

    def run(self, exchange: Exchange, configured: ConfiguredPlugin) -> None:
        """Run the handler of the phase that the exchange is in; raises LuaFault where it raises."""
        exchange.plugin = configured
        run = self._lua.run_until_exit if exchange.phase & (phase.REWRITE | phase.ACCESS) else self._lua.run
        run(self._handler, phase.NAMES[exchange.phase], self._conf(configured), exchange)

    def filter_body(
        self, exchange: Exchange, configured: ConfiguredPlugin, chunk: bytes, is_last: bool
    ) -> tuple[bytes, bool]:
        """Run the body filter on a chunk; returns what it has made of `ngx.arg`."""
        exchange.plugin = configured
        return self._lua.run_body_filter(self._handler, self._conf(configured), exchange, chunk, is_last)

    def _conf(self, configured: ConfiguredPlugin) -> Any:
        if configured.lua_table is None:
            configured.lua_table = self._lua.to_lua(configured.lua_value)
        return configured.lua_table

    def _field(self, name: bytes) -> Any:
        return self._handler[name]

    def _read_schema(self) -> PluginSchema:
        schema = self._lua.load(f"kong.plugins.{self.name}.schema")
        if schema[b"entity_checks"] is not None:
            raise PluginError(f"plugin {self.name}: minikong does not do entity_checks")
        try:
            fields = to_text(from_lua(schema[b"fields"]))
        except LuaFault as fault:
            raise PluginError(f"plugin {self.name}: its schema is more than data: {fault}") from fault
        return PluginSchema(self.name, fields, self._lua.find)


def checked_priority(plugin: str, value: Any) -> int:
    """A plugin's PRIORITY, which Kong wants to be a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise PluginError(f"plugin {plugin}: PRIORITY is not an integer: {value!r}")
    return value


def check_version(plugin: str, version: str) -> None:
    """Kong loads only a plugin whose VERSION has the form x.y.z."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise PluginError(f'plugin {plugin}: VERSION does not follow the "x.y.z" format: {version!r}')
