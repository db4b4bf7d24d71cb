"""A client that sees every byte: one connection, one request, headers as they are sent."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_PATIENCE_SECONDS: Final = 20


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for present, value in self.headers if present.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Call:
    """A request that is under way; its answer can be read bit by bit, or left."""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str | bytes]] = (),
        body: bytes | None = None,
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
        lines = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        has_host = any(name.lower() == "host" for name, _ in lines)
        self._connection.putrequest(method, path, skip_host=has_host, skip_accept_encoding=True)
        for name, value in lines:
            self._connection.putheader(name, value)
        if body is not None:
            self._connection.putheader("content-length", str(len(body)))
        self._connection.endheaders(body)
        self._response: http.client.HTTPResponse | None = None

    def head(self) -> http.client.HTTPResponse:
        """The answer as soon as its head is there."""
        self._response = self._connection.getresponse()
        return self._response

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        if self._response:
            self._response.close()
        self._connection.close()

    def answer(self) -> Answer:
        """The whole answer."""
        with self:
            response = self.head()
            return Answer(response.status, response.getheaders(), response.read())
