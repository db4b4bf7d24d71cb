"""kong.request: what the client sent."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote_to_bytes

from minikong import phase
from minikong.exchange import Exchange
from minikong.headers import DEFAULT_LIMIT
from minikong.lua_values import LuaValue, decode_json
from minikong.pdk import arguments
from minikong.pdk.registry import Result, pdk
from minikong.uri import normalize

_BEFORE_CONTENT = phase.REWRITE | phase.ACCESS | phase.ERROR
_KEPT_FOR_LOG = phase.REQUEST | phase.TIMER


@pdk("kong.request.get_scheme", phase.REQUEST)
@pdk("kong.request.get_forwarded_scheme", phase.REQUEST)
def get_scheme(exchange: Exchange) -> Result:
    return exchange.incoming.scheme.encode()


@pdk("kong.request.get_host", phase.REQUEST)
@pdk("kong.request.get_forwarded_host", phase.REQUEST)
def get_host(exchange: Exchange) -> Result:
    return exchange.incoming.host.encode("latin-1")


@pdk("kong.request.get_port", phase.REQUEST)
@pdk("kong.request.get_forwarded_port", phase.REQUEST)
def get_port(exchange: Exchange) -> Result:
    return exchange.incoming.port


@pdk("kong.request.get_forwarded_prefix", phase.REQUEST)
def get_forwarded_prefix(exchange: Exchange) -> Result:
    prefix = exchange.match.prefix if exchange.match else None
    return prefix.encode("latin-1") if prefix else None


@pdk("kong.request.get_http_version", phase.REQUEST)
def get_http_version(exchange: Exchange) -> Result:
    return float(exchange.incoming.http_version)


@pdk("kong.request.get_method", phase.REQUEST)
def get_method(exchange: Exchange) -> Result:
    return (exchange.target.method if exchange.target else exchange.incoming.method).encode()


@pdk("kong.request.get_path", phase.REQUEST)
@pdk("kong.request.get_forwarded_path", phase.REQUEST)
def get_path(exchange: Exchange) -> Result:
    return normalize(exchange.incoming.raw_path).encode("latin-1")


@pdk("kong.request.get_raw_path", phase.REQUEST)
def get_raw_path(exchange: Exchange) -> Result:
    return exchange.incoming.raw_path.encode("latin-1")


@pdk("kong.request.get_path_with_query", phase.REQUEST)
def get_path_with_query(exchange: Exchange) -> Result:
    return exchange.incoming.uri.encode("latin-1")


@pdk("kong.request.get_raw_query", phase.REQUEST)
def get_raw_query(exchange: Exchange) -> Result:
    return _query(exchange).encode("latin-1")


@pdk("kong.request.get_query", phase.REQUEST)
def get_query(exchange: Exchange, limit: LuaValue) -> Result:
    return _arguments(_query(exchange), arguments.limit(limit, DEFAULT_LIMIT))


@pdk("kong.request.get_query_arg", phase.REQUEST)
def get_query_arg(exchange: Exchange, name: LuaValue) -> Result:
    value = _arguments(_query(exchange), DEFAULT_LIMIT).get(arguments.string(name, "query argument name"))
    return value[0] if isinstance(value, list) else value


@pdk("kong.request.get_header", _KEPT_FOR_LOG)
def get_header(exchange: Exchange, name: LuaValue) -> Result:
    return exchange.incoming.headers.first(arguments.header_name(name).replace(b"_", b"-"))


@pdk("kong.request.get_headers", _KEPT_FOR_LOG)
def get_headers(exchange: Exchange, limit: LuaValue) -> Result:
    return exchange.incoming.headers.table(arguments.limit(limit, DEFAULT_LIMIT))


@pdk("kong.request.get_raw_body", _BEFORE_CONTENT)
def get_raw_body(exchange: Exchange, most_bytes: LuaValue) -> Result:
    """A body beyond the buffer lies in a file; only a caller that names a size (0 = any) gets it from there."""
    body = exchange.incoming.body
    if exchange.body_fits_buffer:
        return body
    if not isinstance(most_bytes, int | float) or most_bytes < 0:
        return None, b"request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
    if 0 < most_bytes < len(body):
        return None, b"request body file too big: %d > %d" % (len(body), int(most_bytes))
    return body


@pdk("kong.request.get_body", _BEFORE_CONTENT)
def get_body(exchange: Exchange, mimetype: LuaValue, most_arguments: LuaValue, most_bytes: LuaValue) -> Result:
    """The parsed body: JSON or a form. Multipart is Kong's alone."""
    content_type = mimetype or exchange.incoming.headers.first(b"content-type")
    if not content_type:
        return None, b"missing content type"
    kind = arguments.string(content_type, "mimetype").lower().partition(b";")[0].strip()
    if kind == b"application/x-www-form-urlencoded":
        form = exchange.incoming.body.decode("latin-1")
        return _arguments(form, arguments.limit(most_arguments, DEFAULT_LIMIT)), None, kind
    if kind != b"application/json":
        return None, b"unsupported content type '" + kind + b"'", kind
    raw = get_raw_body(exchange, most_bytes)
    if isinstance(raw, tuple):
        return raw
    try:
        body = decode_json(arguments.string(raw, "body"))
    except ValueError:
        body = None
    return (body, None, kind) if isinstance(body, list | dict) else (None, b"invalid json body", kind)


@pdk("kong.request.get_start_time", phase.REQUEST)
def get_start_time(exchange: Exchange) -> Result:
    return int(exchange.started_at * 1000)


@pdk("kong.request.get_uri_captures", _KEPT_FOR_LOG)
def get_uri_captures(exchange: Exchange) -> Result:
    captures = exchange.match.captures if exchange.match else {}
    named: dict[LuaValue, LuaValue] = {
        key.encode(): value.encode("latin-1") for key, value in captures.items() if isinstance(key, str)
    }
    unnamed: list[LuaValue] = [value.encode("latin-1") for key, value in captures.items() if isinstance(key, int)]
    return {b"named": named, b"unnamed": unnamed}


def _query(exchange: Exchange) -> str:
    return exchange.target.query if exchange.target else exchange.incoming.query


def _arguments(query: str, limit: int) -> dict[LuaValue, LuaValue]:
    """`ngx.decode_args`: an argument without a value is true, a repeated one is a list."""
    table: dict[LuaValue, LuaValue] = {}
    for part in [part for part in query.split("&") if part][:limit]:
        name, equals, _ = part.partition("=")
        key = unquote_to_bytes(name.replace("+", " "))
        value: LuaValue = True
        if equals:
            value = parse_qsl(part, keep_blank_values=True, encoding="latin-1")[0][1].encode("latin-1")
        present = table.get(key)
        if present is None:
            table[key] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            table[key] = [present, value]
    return table
