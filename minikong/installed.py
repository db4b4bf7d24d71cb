"""The plugins that KONG_PLUGINS enables: Lua modules on the package path, or plugin servers."""

from __future__ import annotations

import asyncio

from minikong.errors import PluginError
from minikong.log import NOTICE, logger
from minikong.lua_plugin import LuaPlugin
from minikong.lua_runtime import Lua
from minikong.plan import Plugin
from minikong.plugin_server import PluginInfo, query
from minikong.remote_plugin import RemotePlugin
from minikong.rpc import PluginRpc
from minikong.settings import Settings

_BUNDLED = "bundled"


async def load_plugins(settings: Settings, lua: Lua) -> dict[str, Plugin]:
    """Load every enabled plugin; raises PluginError where one is missing or beyond what minikong can run."""
    # All are waited for before one that fails is reported, so that no query is left with nobody to print to.
    infos = await asyncio.gather(*[query(server) for server in settings.plugin_servers], return_exceptions=True)
    failures = [info for info in infos if isinstance(info, BaseException)]
    if failures:
        raise failures[0]
    remote = {
        info.name: (info, PluginRpc(server.socket, settings.read_timeout_ms))
        for info, server in zip(infos, settings.plugin_servers, strict=True)
        if isinstance(info, PluginInfo)
    }
    plugins: dict[str, Plugin] = {}
    for name in settings.plugins:
        if name == _BUNDLED:
            logger.log(NOTICE, "minikong has none of Kong's bundled plugins")
        elif lua.is_installed(f"kong.plugins.{name}.handler"):
            plugins[name] = LuaPlugin(lua, name)
        elif name in remote:
            plugins[name] = RemotePlugin(*remote[name], lua)
        else:
            raise PluginError(f"{name} plugin is enabled but not installed")
    return plugins
