"""kong.nginx and ngx.var: nginx's own variables of the request, as far as minikong has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from minikong import phase
from minikong.exchange import Exchange, Try
from minikong.lua_values import LuaValue
from minikong.pdk import arguments
from minikong.pdk.registry import Result, pdk


def _seconds(milliseconds: int | None) -> bytes:
    return b"-" if milliseconds is None else b"%.3f" % (milliseconds / 1000)


def _of_try(read: Callable[[Try], LuaValue]) -> Callable[[Exchange], LuaValue]:
    return lambda exchange: read(exchange.tried) if exchange.tried else None


_VARIABLES: Final[dict[str, Callable[[Exchange], LuaValue]]] = {
    "args": lambda exchange: (exchange.target or exchange.incoming).query.encode("latin-1"),
    "body_bytes_sent": lambda exchange: exchange.bytes_sent,
    "bytes_sent": lambda exchange: exchange.bytes_sent,
    "content_length": lambda exchange: exchange.incoming.headers.first(b"content-length"),
    "content_type": lambda exchange: exchange.incoming.headers.first(b"content-type"),
    "host": lambda exchange: exchange.incoming.host.encode("latin-1"),
    "is_args": lambda exchange: b"?" if (exchange.target or exchange.incoming).query else b"",
    "kong_request_id": lambda exchange: exchange.request_id.encode(),
    "remote_addr": lambda exchange: exchange.incoming.client[0].encode(),
    "remote_port": lambda exchange: b"%d" % exchange.incoming.client[1],
    "request_id": lambda exchange: exchange.request_id.encode(),
    "request_length": lambda exchange: b"%d" % len(exchange.incoming.body),
    "request_method": lambda exchange: exchange.incoming.method.encode(),
    "request_time": lambda exchange: _seconds(exchange.latency_ms()),
    "request_uri": lambda exchange: exchange.incoming.uri.encode("latin-1"),
    "scheme": lambda exchange: exchange.incoming.scheme.encode(),
    "server_port": lambda exchange: b"%d" % exchange.incoming.port,
    "status": lambda exchange: b"%03d" % exchange.status,
    "upstream_addr": _of_try(lambda tried: tried.address.encode()),
    "upstream_bytes_received": _of_try(lambda tried: b"%d" % tried.bytes_received),
    "upstream_bytes_sent": _of_try(lambda tried: b"%d" % tried.bytes_sent),
    "upstream_connect_time": _of_try(lambda tried: _seconds(tried.connect_ms)),
    "upstream_header_time": _of_try(lambda tried: _seconds(tried.header_ms)),
    "upstream_host": lambda exchange: exchange.target.host_header.encode("latin-1") if exchange.target else b"",
    "upstream_response_time": _of_try(lambda tried: _seconds(tried.response_ms)),
    "upstream_scheme": lambda exchange: exchange.target.scheme.encode() if exchange.target else b"",
    "upstream_status": _of_try(lambda tried: b"%d" % tried.status if tried.status else b"-"),
    "upstream_uri": lambda exchange: exchange.target.path.encode("latin-1") if exchange.target else b"",
    "uri": lambda exchange: exchange.incoming.raw_path.encode("latin-1"),
}


def variable(exchange: Exchange, name: str) -> LuaValue:
    """The value of an nginx variable; nil where there is none, as nginx answers for a name that it does not know."""
    if name in _VARIABLES:
        return _VARIABLES[name](exchange)
    header = name.rpartition("http_")[2].replace("_", "-").encode("latin-1")
    if name.startswith("http_"):
        return exchange.incoming.headers.first(header)
    if name.startswith("sent_http_"):
        return exchange.answer_headers.first(header)
    if name.startswith("upstream_http_") and exchange.tried and exchange.tried.http_headers:
        return exchange.tried.http_headers.first(header)
    return None


@pdk("kong.nginx.get_var", phase.REQUEST)
def get_var(exchange: Exchange, name: LuaValue) -> Result:
    return variable(exchange, arguments.text(name, "variable name"))


@pdk("kong.nginx.req_start_time", phase.REQUEST | phase.TIMER)
def req_start_time(exchange: Exchange) -> Result:
    return round(exchange.started_at, 3)


@pdk("kong.nginx.get_subsystem", phase.REQUEST | phase.TIMER)
def get_subsystem(exchange: Exchange) -> Result:
    return b"http"
