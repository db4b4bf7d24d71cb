"""kong.log: lines for the error log, and the record of a request that logging plugins get."""

from __future__ import annotations

from functools import partial
from typing import Any

from minikong import phase
from minikong.errors import LuaFault
from minikong.exchange import Exchange
from minikong.log import LEVELS, NOTICE, logger
from minikong.lua_values import LuaValue, lua_text
from minikong.pdk import arguments
from minikong.pdk.client import entity_table
from minikong.pdk.registry import Result, pdk
from minikong.pdk.request import get_query

_ALWAYS = phase.REQUEST | phase.TIMER
_SECRET = (b"authorization", b"proxy-authorization")


def _write(level: int, exchange: Exchange, *parts: LuaValue) -> Result:
    if logger.isEnabledFor(level):
        message = b"".join(map(lua_text, parts)).decode("utf-8", "replace")
        name = exchange.plugin.name if exchange.plugin else "core"
        logger.log(level, "[kong] [%s] %s, request_id: %s", name, message, exchange.request_id)
    return None


for _name in ("debug", "info", "notice", "warn", "err", "crit", "alert", "emerg"):
    pdk(f"kong.log.{_name}", _ALWAYS)(partial(_write, LEVELS[_name]))
pdk("kong.log", _ALWAYS)(partial(_write, NOTICE))


@pdk("kong.log.set_serialize_value", phase.REQUEST & ~phase.ERROR)
def set_serialize_value(exchange: Exchange, key: LuaValue, value: LuaValue, options: LuaValue) -> Result:
    mode = options.get(b"mode", b"set") if isinstance(options, dict) else b"set"
    if mode not in (b"set", b"add", b"replace"):
        raise LuaFault("mode must be 'set', 'add' or 'replace'")
    exchange.serialize_values.append((arguments.text(key, "key"), value, lua_text(mode).decode()))
    return None


@pdk("kong.log.serialize", phase.LOG | phase.TIMER)
def serialize(exchange: Exchange) -> Result:
    """The record of the request (kong/pdk/log.lua), with what plugins have set in it."""
    record = _record(exchange)
    for key, value, mode in exchange.serialize_values:
        _edit(record, key.encode("latin-1"), value, mode)
    return {name: value for name, value in record.items() if value is not None}


def _record(exchange: Exchange) -> dict[Any, Any]:
    incoming, target, tried = exchange.incoming, exchange.target, exchange.tried
    uri = incoming.uri.encode("latin-1")
    request_headers = incoming.headers.table()
    request_headers |= {name: b"REDACTED" for name in _SECRET if name in request_headers}
    query = f"?{target.query}" if target and target.query else ""
    return {
        b"request": {
            b"id": exchange.request_id.encode(),
            b"uri": uri,
            b"url": f"{incoming.scheme}://{incoming.host}:{incoming.port}".encode("latin-1") + uri,
            b"querystring": get_query(exchange, None),
            b"method": incoming.method.encode(),
            b"headers": request_headers,
            b"size": len(incoming.body),
        },
        b"response": {
            b"status": exchange.status,
            b"headers": exchange.answer_headers.table(),
            b"size": exchange.bytes_sent,
        },
        b"upstream_uri": f"{target.path}{query}".encode("latin-1") if target else b"",
        b"upstream_status": b"%d" % tried.status if tried and tried.status else b"",
        b"latencies": _latencies(exchange),
        b"tries": [{b"ip": tried.address.rpartition(":")[0].encode()}] if tried else None,
        b"route": entity_table(exchange.route),
        b"service": entity_table(exchange.service),
        b"consumer": exchange.consumer,
        b"authenticated_entity": _authenticated_entity(exchange.credential),
        b"client_ip": incoming.client[0].encode(),
        b"started_at": int(exchange.started_at * 1000),
        b"source": {"error": b"kong", "exit": b"kong", "service": b"upstream"}[exchange.source],
        b"workspace_name": b"default",
    }


def _latencies(exchange: Exchange) -> dict[Any, Any]:
    before_upstream = exchange.access_ended_at or exchange.started_at
    return {
        b"kong": round((before_upstream - exchange.started_at) * 1000),
        b"proxy": -1 if exchange.waiting_ms is None else exchange.waiting_ms,
        b"request": round(((exchange.log_ended_at or before_upstream) - exchange.started_at) * 1000),
        b"receive": exchange.receive_ms or 0,
    }


def _authenticated_entity(credential: LuaValue) -> LuaValue:
    if not isinstance(credential, dict):
        return None
    return {name: credential[name] for name in (b"id", b"consumer_id") if name in credential}


def _edit(record: dict[Any, Any], key: bytes, value: LuaValue, mode: str) -> None:
    """Put one value at a dotted key; "replace" only over a value, "add" only where there is none."""
    *path, last = key.split(b".")
    node = record
    for part in path:
        if node.get(part) is None:
            if mode == "replace":
                return
            node[part] = {}
        inner = node[part]
        if not isinstance(inner, dict):
            raise LuaFault(f"The key {key!r} could not be used as a serialize value: {part!r} is not a table")
        node = inner
    present = node.get(last) is not None
    if mode == "set" or present == (mode == "replace"):
        node[last] = value
