"""Plugin servers: asked once for what they are, started, logged and started again (plugin_servers/process.lua).

nginx strips the environment of what it starts, and so does minikong; the query has Kong's own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from minikong.errors import PluginError
from minikong.log import NOTICE, logger
from minikong.settings import PluginServerSettings

_RESPAWN_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 2.0
_PROTOCOL: Final = "MsgPack:1"


class InfoSchema(msgspec.Struct, frozen=True):
    """The fields of a plugin's schema, its config among them."""

    fields: list[dict[str, Any]]


class PluginInfo(msgspec.Struct, frozen=True, rename="pascal"):
    """A plugin as its server's query prints it."""

    name: str
    phases: list[str]
    priority: int
    version: str
    schema: InfoSchema


async def query(server: PluginServerSettings) -> PluginInfo:
    """What the query command prints of the server's first plugin.

    Raises PluginError where it prints anything else. Kong takes the first plugin only, since 3.9.
    """
    process = await asyncio.create_subprocess_shell(
        server.query_command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    try:
        dump = msgspec.json.decode(printed)
        protocol = dump.get("Protocol", _PROTOCOL) if isinstance(dump, dict) else _PROTOCOL
        if protocol != _PROTOCOL:
            raise PluginError(f"plugin server {server.name}: minikong does not speak {protocol}")
        plugins = dump.get("Plugins") if isinstance(dump, dict) else dump
        return msgspec.convert(plugins, list[PluginInfo])[0]
    except (msgspec.MsgspecError, IndexError) as error:
        raise PluginError(f"plugin server {server.name}: failed decoding plugin info: {error}") from error


class PluginServer:
    """One plugin server that minikong keeps alive; it is started again at most once a second."""

    def __init__(self, settings: PluginServerSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Keep the server running until `stop`; without a start command it is somebody else's."""
        if self.settings.start_command is None:
            logger.warning(
                "start_command undefined for pluginserver %s; assuming external process management", self.settings.name
            )
            return
        # A killed predecessor's server may still hold its socket for a moment; nobody is to meet it there.
        self.settings.socket.unlink(missing_ok=True)
        self._keeper = asyncio.create_task(self._keep(self.settings.start_command))

    async def stop(self) -> None:
        """End the process: politely first, then not."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _keep(self, command: str) -> None:
        while True:
            next_start = time.monotonic() + _RESPAWN_SECONDS
            await self._run(command)
            await asyncio.sleep(max(0.0, next_start - time.monotonic()))

    async def _run(self, command: str) -> None:
        name = self.settings.name
        logger.log(NOTICE, "[pluginserver] starting pluginserver process for %s", name)
        self._process = process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            f"exec {command}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            # Ctrl-C is minikong's to hear; it then stops the server itself.
            start_new_session=True,
        )
        logger.log(NOTICE, "[pluginserver] started, pid %d", process.pid)
        assert process.stdout
        async for line in _lines(process.stdout):
            logger.info("[%s:%d] %s", name, process.pid, line)
        status = await process.wait()
        logger.log(NOTICE, "external pluginserver '%s' terminated: status %d", name, status)


async def _lines(stream: asyncio.StreamReader) -> Any:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            # Longer than the reader's buffer: dropped, as nothing in it could be read as a log line.
            continue
        if not line:
            return
        yield line.decode("utf-8", "replace").rstrip("\n")
