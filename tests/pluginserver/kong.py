"""Kong's side of the plugin protocol, as a worker of Kong 3.9 speaks it over a Unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

Message = dict[str, Any] | str


class RemoteError(Exception):
    """The plugin server answered a call with an error."""


class KongWorker:
    """One connection of a worker; text passes as Lua strings do, whatever its bytes are."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape")
        self._message_id = 0

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of one remote call.

        Raises:
            RemoteError: the server answered with an error.
            ConnectionError: it closed the connection.
        """
        self.send(method, *arguments)
        kind, message_id, error, result = self._receive()
        assert (kind, message_id) == (1, self._message_id)
        if error is not None:
            raise RemoteError(error)
        return result

    def send(self, method: str, *arguments: Any) -> None:
        """Make a call without waiting for its result."""
        self._message_id += 1
        packed = msgpack.packb([0, self._message_id, method, arguments], unicode_errors="surrogateescape")
        self._socket.sendall(packed)

    def start_instance(self, plugin: str = "trial", **config: Any) -> int:
        started = self.call("plugin.StartInstance", {"Name": plugin, "Config": json.dumps(config)})
        instance_id: int = started["Id"]
        return instance_id

    def begin(self, instance_id: int, phase: str = "access") -> tuple[int, Message]:
        reply = self.call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": phase})
        return reply["EventId"], reply["Data"]

    def step(self, event_id: int, answer: Any = None) -> Message:
        message: Message = self.call("plugin.Step", {"EventId": event_id, "Data": answer})["Data"]
        return message

    def run(
        self, instance_id: int, phase: str = "access", answers: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """A whole event: the calls that the handler made, as (method, *arguments), until it returned or exited."""
        event_id, message = self.begin(instance_id, phase)
        calls = []
        while isinstance(message, dict):
            calls.append((message["Method"], *message["Args"]))
            if message["Method"] == "kong.response.exit":
                break
            message = self.step(event_id, (answers or {}).get(message["Method"]))
        return calls

    def _receive(self) -> Any:
        while True:
            for message in self._unpacker:
                return message
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the plugin server closed the connection")
            self._unpacker.feed(data)
