"""Plugins in plugin servers: instances, events, and the PDK calls between (plugin_servers/plugin.lua, mp_rpc.lua)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from minikong import pdk, phase
from minikong.errors import LuaFault, PluginError
from minikong.exchange import Exchange
from minikong.log import logger
from minikong.lua_plugin import check_version
from minikong.lua_runtime import Lua
from minikong.lua_values import LuaValue, encode_json, lua_text, to_text
from minikong.plan import ConfiguredPlugin
from minikong.plugin_server import PluginInfo
from minikong.rpc import NoAnswer, PluginRpc
from minikong.schema import PluginSchema

_EVENTS: Final = {"rewrite": phase.REWRITE, "access": phase.ACCESS, "log": phase.LOG}
_CLAIM_SECONDS: Final = 10.0
_STEPS: Final = {
    "kong.client.get_credential": "plugin.StepCredential",
    "kong.client.get_consumer": "plugin.StepConsumer",
    "kong.client.authenticate": "plugin.StepCredential",
    "kong.router.get_route": "plugin.StepRoute",
    "kong.router.get_service": "plugin.StepService",
    "kong.request.get_query": "plugin.StepMultiMap",
    "kong.request.get_headers": "plugin.StepMultiMap",
    "kong.response.get_headers": "plugin.StepMultiMap",
    "kong.service.response.get_headers": "plugin.StepMultiMap",
}
_MULTI_MAPS: Final = {name for name, step in _STEPS.items() if step == "plugin.StepMultiMap"}
_STORES: Final = {
    "kong.ctx.shared.get": b"shared",
    "kong.ctx.shared.set": b"shared",
    "kong.nginx.get_ctx": b"ctx",
    "kong.nginx.set_ctx": b"ctx",
}
# What a real Kong answers and minikong does not: refused aloud, where an unknown name is only logged, as in Kong.
_KONGS_ALONE: Final = {
    "kong.client.load_consumer",
    "kong.client.tls",
    "kong.cluster",
    "kong.enterprise_edition",
    "kong.nginx.get_statistics",
    "kong.nginx.get_tls1_version_str",
    "kong.node.get_memory_stats",
    "kong.node.is_active",
    "kong.response.get_raw_body",
    "kong.response.set_raw_body",
    "kong.service.request.clear_query_arg",
    "kong.service.request.enable_buffering",
    "kong.service.request.set_body",
    "kong.service.response.get_body",
    "kong.service.response.get_raw_body",
    "kong.service.set_tls_verify",
    "kong.vault",
}


@dataclass(slots=True)
class _Instance:
    """A config as the plugin server knows it; `id` is None while it is being started."""

    seq: int
    id: LuaValue = None
    started: asyncio.Event = field(default_factory=asyncio.Event)


class RemotePlugin:
    """A plugin that a plugin server runs. It fails open, exactly where Kong does."""

    def __init__(self, info: PluginInfo, rpc: PluginRpc, lua: Lua) -> None:
        """Take what the server's query printed; raises PluginError where minikong cannot run that."""
        self.name = info.name
        self.version = info.version
        self.priority = info.priority
        check_version(self.name, self.version)
        unsupported = sorted(set(info.phases) - _EVENTS.keys())
        if unsupported:
            raise PluginError(f"plugin {self.name}: minikong does not do the phase {', '.join(unsupported)}")
        self.phases = sum(_EVENTS[name] for name in info.phases)
        self.schema = PluginSchema(self.name, info.schema.fields, lua.find)
        self.rpc = rpc
        self._lua = lua
        self._instances: dict[str, _Instance] = {}

    async def handle(self, event: int, exchange: Exchange, configured: ConfiguredPlugin) -> None:
        """Run one handler to its end or to kong.response.exit.

        A server that is dead, silent or reports an error is logged and the handler counts as done.
        Raises LuaFault where Kong's own code raises: no instance can be started, or a PDK call is refused.
        """
        while True:
            try:
                instance = await self._claim(configured)
                await self._run_event(instance, phase.NAMES[event], exchange, configured)
                return
            except NoAnswer as error:
                if "no plugin instance" not in str(error).lower():
                    logger.error("[%s] %s, request_id: %s", self.name, error, exchange.request_id)
                    return
                logger.warning("[%s] %s", self.name, error)
                self._instances.clear()

    async def _run_event(
        self, instance: LuaValue, event: str, exchange: Exchange, configured: ConfiguredPlugin
    ) -> None:
        step = await self.rpc.call("plugin.HandleEvent", {"InstanceId": instance, "EventName": event})
        event_id = _field(step, b"EventId") if step is not None else None
        while step is not None:
            data = _field(step, b"Data")
            if data == b"ret":
                return
            method = lua_text(_field(data, b"Method")).decode("utf-8", "replace")
            exchange.plugin = configured
            answer = self._answer(method, _field(data, b"Args"), exchange)
            if exchange.exit is not None and exchange.phase != phase.TIMER:
                return
            message = {"EventId": event_id} if answer is None else {"EventId": event_id, "Data": answer}
            step = await self.rpc.call(_STEPS.get(method, "plugin.Step"), message)

    def _answer(self, method: str, arguments: LuaValue, exchange: Exchange) -> Any:
        """The answer to one PDK call in its form on the wire: only the first return value travels."""
        passed = self._lua.unpacked(arguments) if isinstance(arguments, list) else [arguments]
        if method in _STORES:
            return self._reach(method, passed, exchange)
        if method not in pdk.functions:
            if any(method == known or method.startswith(f"{known}.") for known in _KONGS_ALONE):
                raise LuaFault(f"minikong has no {method}, which Kong has")
            logger.error("could not find pdk method: %s", method)
            return None
        result = pdk.call(method, exchange, passed)
        value = result[0] if isinstance(result, tuple) else result
        if method == "kong.log.serialize":
            return encode_json(value).decode("utf-8", "surrogateescape")
        if method == "kong.request.get_raw_body":
            return _body(value)
        return _multi_map(value) if method in _MULTI_MAPS else to_text(value)

    def _reach(self, method: str, arguments: Sequence[LuaValue], exchange: Exchange) -> Any:
        key, value = (*arguments, None, None)[:2]
        if method.endswith(("shared.get", "get_ctx")):
            return to_text(self._lua.get(exchange, _STORES[method], key))
        self._lua.set(exchange, _STORES[method], key, value)
        return None

    async def _claim(self, configured: ConfiguredPlugin) -> LuaValue:
        """The id of the running instance of a config; a new one is started for a new config."""
        instance = self._instances.get(configured.id)
        while instance is not None and instance.id is None:
            try:
                await asyncio.wait_for(instance.started.wait(), _CLAIM_SECONDS)
            except TimeoutError:
                self._instances.pop(configured.id, None)
                raise NoAnswer(f"Could not claim instance_id for {self.name} (key: {configured.id})") from None
            instance = self._instances.get(configured.id)
        if instance is not None and instance.seq == configured.seq:
            return instance.id
        return await self._start(configured, None if instance is None else instance.id)

    async def _start(self, configured: ConfiguredPlugin, old_id: LuaValue) -> LuaValue:
        instance = self._instances[configured.id] = _Instance(configured.seq)
        try:
            started = await self.rpc.call("plugin.StartInstance", {"Name": self.name, "Config": configured.json})
            instance.id = _field(started, b"Id")
        except NoAnswer as error:
            logger.error("[%s] starting instance: %s", self.name, error)
            raise LuaFault(str(error)) from error
        finally:
            if instance.id is None:
                self._instances.pop(configured.id, None)
            instance.started.set()
        if old_id is not None:
            await self._close(old_id)
        return instance.id

    async def _close(self, instance_id: LuaValue) -> None:
        try:
            await self.rpc.call("plugin.CloseInstance", instance_id)
        except NoAnswer:
            logger.debug("[%s] the old instance was gone already", self.name)


def _field(value: Any, name: bytes) -> Any:
    if not isinstance(value, dict):
        raise LuaFault(f"attempt to index field '{name.decode()}' (a {type(value).__name__} value)")
    return value.get(name)


def _body(value: LuaValue) -> bytes:
    if not isinstance(value, bytes):
        raise LuaFault("attempt to get length of local 'str' (a nil value)")
    return value


def _multi_map(value: LuaValue) -> dict[str, Any]:
    """Every value of a header or argument as a list: true is an empty one."""
    table = value if isinstance(value, dict) else {}
    return {
        to_text(name): [] if item is True else [to_text(item)] if isinstance(item, bytes) else to_text(item)
        for name, item in table.items()
    }
