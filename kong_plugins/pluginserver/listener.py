"""Kong's connections: MessagePack calls over a Unix socket that only Kong's user can open.

A call is `[0, id, method, arguments]`, its answer `[1, id, error, result]`; a connection has one call at a time
(Kong 3.9, kong/runloop/plugin_servers/rpc/mp_rpc.lua).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgpack
from gevent import GreenletExit, get_hub, getcurrent, socket
from gevent.server import StreamServer
from kong_pdk.exception import PDKException, PluginServerException

from kong_plugins.pluginserver.event import pack
from kong_plugins.pluginserver.server import HardenedPluginServer

_logger = logging.getLogger(__name__)

_BACKLOG: Final = 4096
_RESPONSE: Final = 1
_READ: Final = 1


class Listener:
    """The socket at `path`. A new one takes the path over at once, so that Kong never finds it missing."""

    def __init__(self, server: HardenedPluginServer, path: Path, mode: int) -> None:
        self._server = server
        self._remotes = server.remotes
        self._path = path
        self._mode = mode

    def start(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = _bound_socket(self._path, self._mode)
        self._inode = self._path.stat().st_ino
        self._accepting = StreamServer(self._socket, self._serve)
        self._accepting.start()

    def stop(self) -> None:
        """Accept no more; leave the path alone where a successor has taken it over."""
        self._accepting.close()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()

    def _serve(self, connection: socket.socket, _address: Any) -> None:
        unpacker = msgpack.Unpacker(_Reader(connection), strict_map_key=False, unicode_errors="surrogateescape")
        try:
            with _HangUp(connection) as hang_up:
                for _, message_id, method, arguments in unpacker:
                    with hang_up.ends_this_greenlet():
                        error, result = self._response(method, arguments)
                    self._send(connection, message_id, error, result)
        except OSError as error:
            _logger.debug("a connection broke: %s", error)
        except (ValueError, TypeError, msgpack.UnpackException):
            _logger.exception("a connection sent what is no call")

    def _send(self, connection: socket.socket, message_id: int, error: str | None, result: Any) -> None:
        try:
            connection.sendall(pack([_RESPONSE, message_id, error, result]))
        except (OSError, GreenletExit):
            if isinstance(result, dict) and "EventId" in result:
                self._server.hang_up(result["EventId"])
            raise

    def _response(self, method: str, arguments: list[Any]) -> tuple[str | None, Any]:
        """A call's error and its result, one of them None."""
        remote = self._remotes.get(method)
        if remote is None:
            return f"{method} is not a call of Kong's", None
        try:
            return None, remote(*arguments)
        except (PluginServerException, PDKException) as error:
            _logger.info("%s: %s", method, error)
            return str(error), None
        except Exception as error:
            _logger.exception("%s failed", method)
            return str(error) or type(error).__name__, None


class _HangUp:
    """Notices that Kong closes a connection in the middle of a call, which nobody reads from meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self._readable = get_hub().loop.io(connection.fileno(), _READ)

    def __enter__(self) -> _HangUp:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._readable.close()

    @contextmanager
    def ends_this_greenlet(self) -> Iterator[None]:
        """Until left, the end of the connection is the end of the greenlet; Kong sends nothing before its answer."""
        self._readable.start(getcurrent().kill, GreenletExit, False)
        try:
            yield
        finally:
            self._readable.stop()


class _Reader:
    """A socket as msgpack reads it: whatever there is, up to `size` bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self, size: int) -> bytes:
        data: bytes = self._connection.recv(size)
        return data


def _bound_socket(path: Path, mode: int) -> socket.socket:
    new = path.with_name(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o777 & ~mode)
    try:
        listening.bind(str(new))
    finally:
        os.umask(previous)
    listening.listen(_BACKLOG)
    new.replace(path)
    return listening
