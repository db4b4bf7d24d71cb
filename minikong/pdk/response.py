"""kong.response: the answer to the client, and the way to give one at once."""

from __future__ import annotations

from minikong import phase
from minikong.error_answer import error_answer
from minikong.errors import LuaFault
from minikong.exchange import Exchange, Exit
from minikong.headers import DEFAULT_LIMIT
from minikong.lua_values import LuaValue, encode_json, to_text
from minikong.pdk import arguments
from minikong.pdk.registry import Result, pdk

_ANSWERED_OR_LOGGED = phase.ANSWERED | phase.TIMER
_BEFORE_UPSTREAM = phase.REWRITE | phase.ACCESS
_JSON = b"application/json; charset=utf-8"


@pdk("kong.response.get_status", _ANSWERED_OR_LOGGED)
def get_status(exchange: Exchange) -> Result:
    return exchange.status


@pdk("kong.response.get_header", _ANSWERED_OR_LOGGED)
def get_header(exchange: Exchange, name: LuaValue) -> Result:
    return exchange.answer_headers.first(_answer_name(name))


@pdk("kong.response.get_headers", _ANSWERED_OR_LOGGED)
def get_headers(exchange: Exchange, limit: LuaValue) -> Result:
    return exchange.answer_headers.table(arguments.limit(limit, DEFAULT_LIMIT))


@pdk("kong.response.get_source", _ANSWERED_OR_LOGGED)
def get_source(exchange: Exchange) -> Result:
    return exchange.source.encode()


@pdk("kong.response.set_status", phase.BEFORE_ANSWER)
def set_status(exchange: Exchange, status: LuaValue) -> Result:
    exchange.status = arguments.integer(status, "code", 100, 599)
    return None


@pdk("kong.response.set_header", phase.BEFORE_ANSWER)
def set_header(exchange: Exchange, name: LuaValue, value: LuaValue) -> Result:
    lowered = _answer_name(name)
    _set(exchange, lowered, arguments.header_values(lowered, value))
    return None


@pdk("kong.response.set_headers", phase.BEFORE_ANSWER)
def set_headers(exchange: Exchange, headers: LuaValue) -> Result:
    for name, values in arguments.header_lines(headers):
        _set(exchange, name.replace(b"_", b"-"), values)
    return None


@pdk("kong.response.add_header", phase.BEFORE_ANSWER)
def add_header(exchange: Exchange, name: LuaValue, value: LuaValue) -> Result:
    lowered = _answer_name(name)
    for item in arguments.header_values(lowered, value):
        exchange.answer_headers.add(lowered, item)
    return None


@pdk("kong.response.clear_header", phase.BEFORE_ANSWER)
def clear_header(exchange: Exchange, name: LuaValue) -> Result:
    exchange.answer_headers.remove(_answer_name(name))
    return None


@pdk("kong.response.exit", _BEFORE_UPSTREAM)
def exit_now(exchange: Exchange, status: LuaValue, body: LuaValue, headers: LuaValue) -> Result:
    """Answer instead of the upstream; no later handler of the phase runs.

    Kong allows it in header_filter too; nothing here needs that.
    """
    code = arguments.integer(status, "code", 100, 599)
    lines = [(name, value) for name, values in _headers(headers) for value in values]
    content = b""
    if isinstance(body, list | dict):
        content = encode_json(body)
        if not any(name == b"content-type" for name, _ in lines):
            lines.append((b"content-type", _JSON))
    elif body is not None:
        content = arguments.string(body, "body must be a nil, string or table; it")
    leave(exchange, Exit(code, content, lines))
    return None


@pdk("kong.response.error", _BEFORE_UPSTREAM)
def error(exchange: Exchange, status: LuaValue, message: LuaValue, headers: LuaValue) -> Result:
    """Answer with Kong's own error document, in the form that the client accepts."""
    code = arguments.integer(status, "code", 400, 599)
    text = encode_json(message) if isinstance(message, list | dict) else message
    if text is not None and not isinstance(text, bytes):
        raise LuaFault("message must be a nil, a string or a table")
    answer = error_answer(code, exchange.incoming.headers.every(b"accept"), exchange.request_id, to_text(text))
    lines = [(name, value) for name, values in _headers(headers) for value in values]
    leave(exchange, Exit(code, answer.body, [*lines, *answer.headers]))
    return None


def leave(exchange: Exchange, answer: Exit) -> None:
    """Note the answer that Kong is to give; the first one counts."""
    exchange.exited = True
    exchange.exit = exchange.exit or answer


def _headers(headers: LuaValue) -> list[tuple[bytes, list[bytes]]]:
    lines = [] if headers is None else arguments.header_lines(headers)
    return [(name, values) for name, values in lines if name != b"transfer-encoding"]


def _set(exchange: Exchange, name: bytes, values: list[bytes]) -> None:
    if name != b"transfer-encoding":
        exchange.answer_headers.replace(name, *values)


def _answer_name(name: LuaValue) -> bytes:
    return arguments.header_name(name).replace(b"_", b"-")
