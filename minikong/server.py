"""uvicorn as the HTTP server of the proxy and of the Admin API: plain HTTP/1.1, no headers of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn

from minikong import SERVER_TOKEN
from minikong.errors import SettingsError
from minikong.settings import Address

_BACKLOG: Final = 2048
_DRAIN_SECONDS: Final = 3


class Server(uvicorn.Server):
    """One application on its sockets; `should_exit` ends it, and open streams have a moment to finish."""

    def __init__(self, name: str, application: Any, sockets: Sequence[socket.socket]) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                interface="asgi3",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._name = name
        self._sockets = list(sockets)

    async def run_until_told(self) -> None:
        """Serve until `should_exit` is set; requests that do not end in time are cancelled, and logged."""
        await self.serve(sockets=self._sockets)
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, and say on which ports, since 0 takes any."""
        await super().startup(sockets)
        for listener in self._sockets:
            host, port = listener.getsockname()[:2]
            sys.stdout.write(f"{SERVER_TOKEN} {self._name} listens on {host}:{port}\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the gateway's, which has two servers to stop."""
        yield


def bind(address: Address, variable: str) -> socket.socket:
    """A listening socket; raises SettingsError that names the port which is in use."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"{variable}: {address.host}:{address.port}: {error.strerror}") from error
    return listener
