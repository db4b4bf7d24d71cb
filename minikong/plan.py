"""Which plugins run for a request, with which config, in which order (kong/runloop/plugins_iterator.lua)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final, Protocol

from minikong import phase
from minikong.lua_values import LuaValue, from_python
from minikong.schema import PluginSchema

Scope = tuple[str | None, str | None]
_GLOBAL: Final[Scope] = (None, None)


class Plugin(Protocol):
    """A plugin that is installed: the handlers of one name, to be run with any config."""

    name: str
    version: str
    priority: int
    phases: int
    schema: PluginSchema


class ConfiguredPlugin:
    """A plugin with one config. `seq` is new with each configuration, so that instances are started anew."""

    def __init__(self, plugin: Plugin, *, identifier: str, seq: int, scope: Scope, config: Mapping[str, Any]) -> None:
        self.plugin = plugin
        self.name = plugin.name
        self.id = identifier
        self.seq = seq
        self.lua_table: Any = None
        route, service = scope
        own = {
            "__plugin_id": identifier,
            "__seq__": seq,
            "__key__": f"plugins:{plugin.name}:{route or ''}:{service or ''}::",
            "route_id": route,
            "service_id": service,
        }
        self.config = {**config, **{name: value for name, value in own.items() if value is not None}}

    @cached_property
    def json(self) -> str:
        """The config as a plugin server gets it."""
        return json.dumps(self.config)

    @cached_property
    def lua_value(self) -> LuaValue:
        """The config as a Lua plugin gets it."""
        return from_python(self.config)


class Plan:
    """The plugins of one route, or the global ones: for each phase those that have a handler, by priority."""

    def __init__(self, plugins: Iterable[ConfiguredPlugin]) -> None:
        ordered = sorted(plugins, key=lambda configured: (configured.plugin.priority, configured.name), reverse=True)
        self._by_phase = {
            known: tuple(configured for configured in ordered if configured.plugin.phases & known)
            for known in phase.NAMES
        }

    def of(self, phase_now: int) -> tuple[ConfiguredPlugin, ...]:
        """Who runs in a phase, in order."""
        return self._by_phase[phase_now]


class Plans:
    """All configured plugins, and the plan of each route."""

    def __init__(self, configured: Mapping[tuple[str, Scope], ConfiguredPlugin]) -> None:
        self._configured = configured
        self._names = {name for name, _ in configured}
        self.of_all = Plan(plugin for (_, scope), plugin in configured.items() if scope == _GLOBAL)

    def for_route(self, route: str, service: str | None) -> Plan:
        """The most specific config of each plugin: route and service, then route, then service, then global."""
        scopes: tuple[Scope, ...] = ((route, service), (route, None), (None, service), _GLOBAL)
        chosen = (
            next((self._configured[name, scope] for scope in scopes if (name, scope) in self._configured), None)
            for name in self._names
        )
        return Plan(configured for configured in chosen if configured)
