"""A network between a gateway and its store that can lose answers."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit


class LossyProxy:
    """Forwards connections to the server of a URL. Where an answer is to be lost, its request still arrives, but the
    connection ends instead of bringing the answer."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "", target.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.answers_to_lose = 0
        login = target.netloc.rpartition("@")[0]
        self.url = urlunsplit(target._replace(netloc=f"{login}@127.0.0.1:{self._listener.getsockname()[1]}"))

    def lead_to(self, url: str) -> None:
        """Let another server answer from now on, as after a failover."""
        target = urlsplit(url)
        self._target = (target.hostname or "", target.port or 0)
        for connection in self._connections:
            _end(connection)

    def __enter__(self) -> LossyProxy:
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            _end(connection)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._connections += [client, server]
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._forward, args=(source, sink, is_answer))
                self._threads.append(thread)
                thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.answers_to_lose > 0:
                    self.answers_to_lose -= 1
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    """Wakes whoever reads from it, too."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
