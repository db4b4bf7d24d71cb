"""The whole of minikong: what it starts, in which order, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence
from typing import Final

from minikong.admin import Admin
from minikong.configuration import Compiler, Configuration
from minikong.errors import ConfigurationError
from minikong.installed import load_plugins
from minikong.log import NOTICE, logger
from minikong.lua_runtime import Lua
from minikong.plugin_server import PluginServer
from minikong.proxy import Proxy
from minikong.runloop import Runloop
from minikong.server import Server, bind
from minikong.settings import Address, Settings
from minikong.upstream import Upstream

_LOG_SECONDS: Final = 2.0


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises a MinikongError where it cannot start."""
    with contextlib.ExitStack() as sockets:
        proxy_sockets = _bind(sockets, settings.proxy_listen, "KONG_PROXY_LISTEN")
        admin_sockets = _bind(sockets, settings.admin_listen, "KONG_ADMIN_LISTEN")
        plugins = await load_plugins(settings, Lua(settings.lua_package_path))
        compiler = Compiler(plugins)
        configuration = _first_configuration(settings, compiler)
        settings.prefix.mkdir(parents=True, exist_ok=True)

        runloop, upstream = Runloop(), Upstream()
        plugin_servers = [
            PluginServer(server, settings.plugin_server_environment) for server in settings.plugin_servers
        ]
        proxy = Proxy(settings, configuration, runloop, upstream)
        proxy_server = Server("proxy", proxy, proxy_sockets)
        admin = Admin(
            proxy,
            compiler,
            list(plugins.values()),
            plugin_servers,
            lambda: proxy_server.server_state.total_requests,
        )
        servers = [proxy_server, Server("admin", admin, admin_sockets)]
        _stop_on_signals(servers)
        try:
            for plugin_server in plugin_servers:
                plugin_server.start()
            await asyncio.gather(*[server.run_until_told() for server in servers])
        finally:
            await runloop.finish_logging(_LOG_SECONDS)
            await asyncio.gather(*[plugin_server.stop() for plugin_server in plugin_servers])
            await upstream.close()
    logger.log(NOTICE, "minikong stopped")


def _bind(stack: contextlib.ExitStack, addresses: Sequence[Address], variable: str) -> list[socket.socket]:
    return [stack.enter_context(bind(address, variable)) for address in addresses]


def _first_configuration(settings: Settings, compiler: Compiler) -> Configuration:
    if settings.declarative_config is None:
        return compiler.empty()
    try:
        configuration = compiler.compile_text(settings.declarative_config.read_text())
    except OSError as error:
        raise ConfigurationError(f"{settings.declarative_config}: {error.strerror}") from error
    for notice in configuration.declaration.notices():
        logger.log(NOTICE, "declarative config: %s", notice)
    return configuration


def _stop_on_signals(servers: Sequence[Server]) -> None:
    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop)
