"""One request and its answer: what came, what plugins made of it, and what Kong's PDK can tell of it.

Kong keeps the same facts in nginx's request, in ngx.var and in ngx.ctx.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from minikong import phase
from minikong.declarative import Route, Service
from minikong.headers import Headers
from minikong.lua_values import LuaValue
from minikong.plan import ConfiguredPlugin, Plan
from minikong.router import Match

_CLIENT_GONE = 499


@dataclass(slots=True)
class Incoming:
    """The request line, the connection, and the buffered body. Headers are shared with what goes upstream."""

    method: str
    raw_path: str
    query: str
    http_version: str
    client: tuple[str, int]
    port: int
    headers: Headers
    body: bytes = b""
    scheme: str = "http"

    @property
    def uri(self) -> str:
        """Path and query as the client sent them."""
        return f"{self.raw_path}?{self.query}" if self.query else self.raw_path

    @property
    def host(self) -> str:
        """The name in the Host header, without a port."""
        return (self.headers.first(b"host") or b"").decode("latin-1").lower().partition(":")[0]


@dataclass(slots=True)
class Target:
    """Where the request is to go; plugins may change every part. An empty host header means the target's own."""

    scheme: str
    host: str
    port: int
    path: str
    host_header: str
    method: str
    query: str
    connect_timeout_ms: int = 60_000
    read_timeout_ms: int = 60_000


@dataclass(slots=True)
class Try:
    """What became of the one try to reach the upstream; times are in milliseconds since the try began."""

    address: str
    started_at: float
    connect_ms: int | None = None
    header_ms: int | None = None
    response_ms: int | None = None
    status: int | None = None
    http_headers: Headers | None = None
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(slots=True)
class Exit:
    """An answer that Kong gives instead of the upstream."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


class Exchange:
    """The state of one request from its arrival to the end of its log phase."""

    __slots__ = (
        "access_ended_at",
        "answer_headers",
        "body_buffer_bytes",
        "bytes_sent",
        "client_is_gone",
        "consumer",
        "credential",
        "exit",
        "exited",
        "forwarded",
        "headers_sent",
        "incoming",
        "log_ended_at",
        "lua_state",
        "match",
        "phase",
        "plan",
        "plugin",
        "proxied",
        "receive_ms",
        "request_id",
        "serialize_values",
        "started_at",
        "status",
        "target",
        "tried",
        "unexpected",
        "waiting_ms",
    )

    def __init__(self, incoming: Incoming, plan: Plan, *, body_buffer_bytes: int) -> None:
        self.incoming = incoming
        self.plan = plan
        self.body_buffer_bytes = body_buffer_bytes
        self.request_id = os.urandom(16).hex()
        self.started_at = time.time()
        self.access_ended_at: float | None = None
        self.log_ended_at: float | None = None
        self.waiting_ms: int | None = None
        self.receive_ms: int | None = None
        self.phase = phase.REWRITE
        self.plugin: ConfiguredPlugin | None = None
        self.match: Match | None = None
        self.target: Target | None = None
        # X-Forwarded-* and Via as they stood when the route was found; plugins cannot change them.
        self.forwarded: list[tuple[bytes, bytes]] = []
        self.tried: Try | None = None
        self.exit: Exit | None = None
        # Kong's KONG_UNEXPECTED, KONG_EXITED, KONG_PROXIED: they decide the source of the answer.
        self.unexpected = False
        self.exited = False
        self.proxied = False
        self.client_is_gone = False
        self.status = 0
        self.answer_headers = Headers()
        self.headers_sent = False
        self.bytes_sent = 0
        self.consumer: LuaValue = None
        self.credential: LuaValue = None
        self.serialize_values: list[tuple[str, LuaValue, str]] = []
        # The Lua table of ngx.ctx, kong.ctx and ngx.arg; made by the Lua runtime when somebody asks for it.
        self.lua_state: Any = None

    @property
    def route(self) -> Route | None:
        return self.match.route if self.match else None

    @property
    def service(self) -> Service | None:
        return self.match.service if self.match else None

    @property
    def source(self) -> str:
        """Who made the answer: `error` is Kong in trouble, `exit` a plugin or Kong itself, `service` the upstream."""
        if self.unexpected:
            return "error"
        if self.exited:
            return "exit"
        return "service" if self.proxied else "error"

    @property
    def body_fits_buffer(self) -> bool:
        """Whether nginx would have kept the body in memory rather than in a file."""
        return len(self.incoming.body) <= self.body_buffer_bytes

    def latency_ms(self) -> int:
        """Milliseconds since the request came."""
        return elapsed_ms(self.started_at)

    def lose_client(self) -> None:
        """The client has closed its connection; without an answer so far, nginx notes status 499."""
        self.client_is_gone = True
        if not self.headers_sent:
            self.status = _CLIENT_GONE


def elapsed_ms(since: float) -> int:
    """Whole milliseconds since an instant of time.time()."""
    return round((time.time() - since) * 1000)
