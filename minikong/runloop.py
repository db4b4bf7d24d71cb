"""Runs the plugins of a request, phase by phase, with Kong's rules for what an error does (kong/init.lua)."""

from __future__ import annotations

import asyncio

from minikong import phase
from minikong.error_answer import error_answer
from minikong.errors import LuaFault
from minikong.exchange import Exchange, Exit
from minikong.log import logger
from minikong.lua_plugin import LuaPlugin
from minikong.pdk.response import leave
from minikong.plan import ConfiguredPlugin
from minikong.remote_plugin import RemotePlugin


class Runloop:
    """The phases of all requests. Log handlers of plugin servers run on after their request, as in Kong's timers."""

    def __init__(self) -> None:
        self._timers: set[asyncio.Task[None]] = set()

    async def decide(self, exchange: Exchange, phase_now: int) -> None:
        """Run rewrite or access until a handler leaves by exit; one that raises makes the answer 500."""
        exchange.phase = phase_now
        for configured in exchange.plan.of(phase_now):
            try:
                if isinstance(configured.plugin, RemotePlugin):
                    await configured.plugin.handle(phase_now, exchange, configured)
                elif isinstance(configured.plugin, LuaPlugin):
                    configured.plugin.run(exchange, configured)
            except LuaFault as fault:
                logger.error("[%s] %s, request_id: %s", configured.name, fault, exchange.request_id)
                exchange.unexpected = True
                leave(exchange, kong_error(exchange, 500))
            if exchange.exit:
                return

    def filter_header(self, exchange: Exchange) -> None:
        """Run header_filter; raises LuaFault where a handler raises, which in nginx ends the connection."""
        exchange.phase = phase.HEADER_FILTER
        for configured in exchange.plan.of(phase.HEADER_FILTER):
            if isinstance(configured.plugin, LuaPlugin):
                configured.plugin.run(exchange, configured)

    def filter_body(self, exchange: Exchange, chunk: bytes, is_last: bool) -> tuple[bytes, bool]:
        """Run body_filter on one chunk; returns the chunk to send, and whether it is the last one.

        Raises LuaFault where a handler raises, which in nginx ends both connections.
        """
        exchange.phase = phase.BODY_FILTER
        for configured in exchange.plan.of(phase.BODY_FILTER):
            if isinstance(configured.plugin, LuaPlugin):
                chunk, is_last = configured.plugin.filter_body(exchange, configured, chunk, is_last)
        return chunk, is_last

    def log(self, exchange: Exchange) -> None:
        """Run the log phase; a Lua handler that raises ends it, those of plugin servers run after it."""
        exchange.phase = phase.LOG
        timers: list[ConfiguredPlugin] = []
        for configured in exchange.plan.of(phase.LOG):
            if isinstance(configured.plugin, RemotePlugin):
                timers.append(configured)
            elif isinstance(configured.plugin, LuaPlugin):
                try:
                    configured.plugin.run(exchange, configured)
                except LuaFault as fault:
                    logger.error("failed to run log_by_lua*: %s, request_id: %s", fault, exchange.request_id)
                    break
        exchange.phase = phase.TIMER
        for configured in timers:
            task = asyncio.create_task(_log_later(exchange, configured))
            self._timers.add(task)
            task.add_done_callback(self._timers.discard)

    async def finish_logging(self, most_seconds: float) -> None:
        """Wait for log handlers that still run."""
        if self._timers:
            await asyncio.wait(self._timers, timeout=most_seconds)


def kong_error(exchange: Exchange, status: int, message: str | None = None) -> Exit:
    """Kong's own error document as an answer."""
    answer = error_answer(status, exchange.incoming.headers.every(b"accept"), exchange.request_id, message)
    return Exit(status, answer.body, answer.headers)


async def _log_later(exchange: Exchange, configured: ConfiguredPlugin) -> None:
    assert isinstance(configured.plugin, RemotePlugin)
    try:
        await configured.plugin.handle(phase.LOG, exchange, configured)
    except LuaFault as fault:
        logger.error("[%s] %s, request_id: %s", configured.name, fault, exchange.request_id)
