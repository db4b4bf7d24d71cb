"""A provider that takes requests and never answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from stack.ports import HOST


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of somebody who takes a request and hangs up."""
    with closing(socket.create_server((HOST, 0))) as server:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with closing(connection):
                    connection.recv(65536)

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"http://{HOST}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
