"""Kong's MsgPack protocol to a plugin server, and how Kong's side of it fails (plugin_servers/rpc/mp_rpc.lua).

A request is [0, id, method, [argument]], an answer [1, id, error, result]; neither has a length before it. Each call
takes a connection from a pool, last used first. What is a Lua error in Kong is a LuaFault here: a part of a message,
bytes that are no MsgPack, an answer to another call. Nothing at all before the timeout is only "no data", and then
Kong puts the connection back, so that a late answer meets an innocent call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import msgpack

from minikong.errors import LuaFault
from minikong.log import logger
from minikong.lua_values import to_text

_REQUEST: Final = 0
_ANSWER: Final = 1
_NOTIFICATION: Final = 2
# lua_socket_pool_size in Kong's templates, and nginx's default lua_socket_keepalive_timeout.
_POOL_SIZE: Final = 256
_IDLE_SECONDS: Final = 60.0
# What a connection's buffer begins with, instead of a megabyte each.
_BUFFER_BYTES: Final = 16_384


class NoAnswer(Exception):
    """The plugin server cannot be reached, is silent, or reports an error: Kong logs it and the request goes on.

    `was_said` tells the last of these from the others.
    """

    def __init__(self, reason: str, *, was_said: bool = False) -> None:
        super().__init__(reason)
        self.was_said = was_said


class PluginRpc:
    """The way to one plugin server."""

    def __init__(self, socket: Path, read_timeout_ms: int) -> None:
        self.socket = socket
        self._timeout_seconds = read_timeout_ms / 1000
        self._last_id = 0
        self._idle: list[_Connection] = []

    async def call(self, method: str, argument: Any) -> Any:
        """The result of one call, strings as bytes. Raises NoAnswer, or LuaFault where Kong's own code would raise."""
        self._last_id += 1
        call_id = self._last_id
        message = msgpack.packb([_REQUEST, call_id, method, [argument]], unicode_errors="surrogateescape")
        connection = self._idle.pop() if self._idle else await self._connect()
        connection.send(message)
        try:
            answer = await self._answer(connection)
        except asyncio.CancelledError:
            connection.close()
            raise
        if len(answer) < 2 or answer[0] != _ANSWER or answer[1] != call_id:
            connection.close()
            raise LuaFault("unexpected RPC response ID from plugin server")
        self._put_back(connection)
        error, result = (*answer[2:4], None, None)[:2]
        if error is not None:
            raise NoAnswer(str(to_text(error)), was_said=True)
        return result

    def close(self) -> None:
        """Close what lies in the pool."""
        for connection in tuple(self._idle):
            connection.close()

    async def _connect(self) -> _Connection:
        try:
            _, connection = await asyncio.get_running_loop().create_unix_connection(
                lambda: _Connection(self._forget), str(self.socket)
            )
        except OSError as error:
            logger.error("trying to connect: %s", error)
            raise NoAnswer(str(error)) from error
        return connection

    async def _answer(self, connection: _Connection) -> list[Any]:
        while True:
            message = await connection.receive(self._timeout_seconds)
            if message is _NOTHING:
                self._put_back(connection)
                raise NoAnswer("no data")
            if not isinstance(message, list) or not message:
                connection.close()
                raise LuaFault(f"attempt to index local 'data' (a {type(message).__name__} value)")
            if message[0] != _NOTIFICATION:
                return message

    def _put_back(self, connection: _Connection) -> None:
        if not connection.is_open:
            return
        if len(self._idle) == _POOL_SIZE:
            self._idle[0].close()
        connection.rest(_IDLE_SECONDS)
        self._idle.append(connection)

    def _forget(self, connection: _Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)


_NOTHING: Final = object()


class _Connection(asyncio.Protocol):
    """One stream to a plugin server; it carries one call at a time."""

    def __init__(self, forget: Callable[[_Connection], None]) -> None:
        self._forget = forget
        self._transport: asyncio.Transport | None = None
        self._forget_rest()
        self._waiter: asyncio.Future[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_resting = False
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._forget(self)
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._is_resting:
            # nginx drops a pooled connection on which something arrives.
            self.close()
            return
        self._unpacker.feed(data)
        self._received_bytes += len(data)
        self._wake()

    def send(self, message: bytes) -> None:
        self._is_resting = False
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._received_bytes > self._unpacker.tell():
            self._forget_rest()
        if self._transport:
            self._transport.write(message)

    async def receive(self, timeout_seconds: float) -> Any:
        """The next message, or _NOTHING when none begins in time; raises LuaFault for half a message or none at all."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                pass
            except (ValueError, msgpack.UnpackException) as error:
                self.close()
                raise LuaFault(f"unpack: {error}") from error
            if not (self.is_open and await self._more(timeout_seconds)):
                break
        if self._received_bytes > self._unpacker.tell():
            self.close()
            raise LuaFault("missing bytes")
        return _NOTHING

    def rest(self, seconds: float) -> None:
        """Lie in the pool for at most this long."""
        self._is_resting = True
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self.close)

    def close(self) -> None:
        self.is_open = False
        self._forget(self)
        if self._transport:
            self._transport.close()

    def _forget_rest(self) -> None:
        """Begin with an empty buffer: what followed an answer is lost with the reader of its call, in Kong too."""
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, read_size=_BUFFER_BYTES)
        self._received_bytes = 0

    async def _more(self, timeout_seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_seconds, self._wake)
        received = self._received_bytes
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()
        return self._received_bytes > received

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
