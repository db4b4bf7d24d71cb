"""kong.service and kong.service.request: where the request goes and what is sent there."""

from __future__ import annotations

from urllib.parse import urlencode

from minikong import phase
from minikong.errors import LuaFault
from minikong.exchange import Exchange, Target
from minikong.headers import DEFAULT_LIMIT
from minikong.lua_values import LuaValue, lua_text
from minikong.pdk import arguments
from minikong.pdk.registry import Result, pdk
from minikong.uri import escape

_BEFORE_UPSTREAM = phase.REWRITE | phase.ACCESS
_LONGEST_MS = 2**31 - 2
_METHODS = frozenset(
    {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH"}
    | {"LOCK", "UNLOCK", "PATCH", "TRACE"}
)


@pdk("kong.service.set_target", _BEFORE_UPSTREAM)
def set_target(exchange: Exchange, host: LuaValue, port: LuaValue) -> Result:
    name = arguments.text(host, "host")
    number = arguments.integer(port, "port", 0, 65535)
    target = _target(exchange)
    target.host, target.port, target.host_header = name, number, name
    return None


@pdk("kong.service.set_upstream", phase.ACCESS)
def set_upstream(exchange: Exchange, host: LuaValue) -> Result:
    """minikong has no Upstream entities, so none is ever found."""
    return None, b"could not find an Upstream named '" + arguments.string(host, "host") + b"'"


@pdk("kong.service.set_retries", phase.ACCESS)
def set_retries(exchange: Exchange, retries: LuaValue) -> Result:
    if arguments.integer(retries, "retries", 0, 32767):
        raise LuaFault("minikong makes one try only: kong.service.set_retries(0) is all it does")
    return None


@pdk("kong.service.set_timeouts", phase.ACCESS)
def set_timeouts(exchange: Exchange, connect_ms: LuaValue, write_ms: LuaValue, read_ms: LuaValue) -> Result:
    connect, _, read = (
        arguments.integer(value, name, 1, _LONGEST_MS)
        for value, name in ((connect_ms, "connect_timeout"), (write_ms, "write_timeout"), (read_ms, "read_timeout"))
    )
    target = _target(exchange)
    target.connect_timeout_ms, target.read_timeout_ms = connect, read
    return None


@pdk("kong.service.request.set_scheme", _BEFORE_UPSTREAM)
def set_scheme(exchange: Exchange, scheme: LuaValue) -> Result:
    name = arguments.text(scheme, "scheme")
    if name not in ("http", "https"):
        raise LuaFault(f"invalid scheme: {name}")
    _target(exchange).scheme = name
    return None


@pdk("kong.service.request.set_path", _BEFORE_UPSTREAM)
def set_path(exchange: Exchange, path: LuaValue) -> Result:
    name = arguments.text(path, "path")
    if not name.startswith("/"):
        raise LuaFault("path must start with /")
    _target(exchange).path = escape(name)
    return None


@pdk("kong.service.request.set_raw_query", _BEFORE_UPSTREAM)
def set_raw_query(exchange: Exchange, query: LuaValue) -> Result:
    _target(exchange).query = arguments.text(query, "query")
    return None


@pdk("kong.service.request.set_query", _BEFORE_UPSTREAM)
def set_query(exchange: Exchange, values: LuaValue) -> Result:
    if not isinstance(values, dict | list):
        raise LuaFault("args must be a table")
    pairs = []
    for name, value in values.items() if isinstance(values, dict) else ():
        items = value if isinstance(value, list) else [value]
        pairs += [urlencode({arguments.string(name, "arg keys"): lua_text(item)}) for item in items]
    _target(exchange).query = "&".join(sorted(pairs))
    return None


@pdk("kong.service.request.set_method", _BEFORE_UPSTREAM)
def set_method(exchange: Exchange, method: LuaValue) -> Result:
    name = arguments.text(method, "method")
    if name not in _METHODS:
        raise LuaFault(f"invalid method: {name}")
    _target(exchange).method = name
    return None


@pdk("kong.service.request.set_header", _BEFORE_UPSTREAM)
def set_header(exchange: Exchange, name: LuaValue, value: LuaValue) -> Result:
    lowered = arguments.header_name(name)
    _set(exchange, lowered, arguments.header_values(lowered, value))
    return None


@pdk("kong.service.request.set_headers", _BEFORE_UPSTREAM)
def set_headers(exchange: Exchange, headers: LuaValue) -> Result:
    for name, values in arguments.header_lines(headers):
        _set(exchange, name, values)
    return None


@pdk("kong.service.request.add_header", _BEFORE_UPSTREAM)
def add_header(exchange: Exchange, name: LuaValue, value: LuaValue) -> Result:
    lowered = arguments.header_name(name)
    _set(exchange, lowered, [*exchange.incoming.headers.every(lowered), *arguments.header_values(lowered, value)])
    return None


@pdk("kong.service.request.clear_header", _BEFORE_UPSTREAM)
def clear_header(exchange: Exchange, name: LuaValue) -> Result:
    exchange.incoming.headers.remove(arguments.header_name(name))
    return None


@pdk("kong.service.request.set_raw_body", _BEFORE_UPSTREAM)
def set_raw_body(exchange: Exchange, body: LuaValue) -> Result:
    exchange.incoming.body = arguments.string(body, "body")
    return None


@pdk("kong.service.response.get_status", phase.ANSWERED)
def get_status(exchange: Exchange) -> Result:
    return exchange.tried.status if exchange.tried else None


@pdk("kong.service.response.get_headers", phase.ANSWERED)
def get_headers(exchange: Exchange, limit: LuaValue) -> Result:
    received = exchange.tried.http_headers if exchange.tried else None
    return received.table(arguments.limit(limit, DEFAULT_LIMIT)) if received else {}


@pdk("kong.service.response.get_header", phase.ANSWERED)
def get_header(exchange: Exchange, name: LuaValue) -> Result:
    received = exchange.tried.http_headers if exchange.tried else None
    return received.first(arguments.header_name(name)) if received else None


def _set(exchange: Exchange, name: bytes, values: list[bytes]) -> None:
    exchange.incoming.headers.replace(name, *values)
    if name == b"host":
        _target(exchange).host_header = values[0].decode("latin-1") if values else ""


def _target(exchange: Exchange) -> Target:
    """Kong has the target once the route is known; before, these functions have nothing to change."""
    if exchange.target is None:
        raise LuaFault("attempt to index field 'balancer_data' (a nil value)")
    return exchange.target
