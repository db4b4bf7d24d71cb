"""The answer on its way to the client: through the filters, with Kong's own headers, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from minikong import SERVER_TOKEN
from minikong.exchange import Exchange, Exit, elapsed_ms
from minikong.runloop import Runloop

Send = Callable[[Any], Awaitable[None]]

_WITHOUT_BODY = frozenset({204, 304})


class Answer:
    """One answer. `is_over` says that its last chunk has been sent."""

    def __init__(self, exchange: Exchange, runloop: Runloop, send: Send) -> None:
        self._exchange = exchange
        self._runloop = runloop
        self._send = send
        self.is_over = False

    async def begin(self) -> None:
        """Run header_filter and send the head; raises LuaFault."""
        exchange = self._exchange
        began = time.time()
        if exchange.proxied and exchange.waiting_ms is None:
            exchange.waiting_ms = elapsed_ms(exchange.access_ended_at or began)
        if exchange.status in _WITHOUT_BODY:
            exchange.answer_headers.remove(b"content-length")
        self._runloop.filter_header(exchange)
        _add_kongs_headers(exchange, began)
        await self._send(
            {"type": "http.response.start", "status": exchange.status, "headers": exchange.answer_headers.lines}
        )
        exchange.headers_sent = True

    async def write(self, chunk: bytes, *, is_last: bool = False) -> None:
        """Run body_filter on a chunk and send what comes out; after a last chunk nothing more is sent.

        Raises LuaFault. An answer without a body has no body_filter, as in nginx.
        """
        exchange = self._exchange
        if exchange.incoming.method == "HEAD" or exchange.status in _WITHOUT_BODY:
            chunk = b""
        else:
            chunk, is_last = self._runloop.filter_body(exchange, chunk, is_last)
        self.is_over = is_last
        exchange.bytes_sent += len(chunk)
        if chunk or is_last:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": not is_last})

    async def give(self, content: Exit) -> None:
        """Send Kong's own answer as a whole: its body in one chunk, then the empty last one."""
        exchange = self._exchange
        exchange.exited = True
        exchange.status = content.status
        headers = exchange.answer_headers
        names = {name for name, _ in content.headers}
        headers.remove(*names, b"content-length")
        headers.lines += [line for line in content.headers if line[0] != b"content-length"]
        headers.add(b"content-length", b"%d" % len(content.body))
        await self.begin()
        if content.body:
            await self.write(content.body)
        if not self.is_over:
            await self.write(b"", is_last=True)


def _add_kongs_headers(exchange: Exchange, began: float) -> None:
    """What Kong adds after the plugins (kong/runloop/handler.lua, header_filter.after), and nginx's Date."""
    headers = exchange.answer_headers
    if exchange.proxied:
        headers.replace(b"x-kong-upstream-latency", b"%d" % (exchange.waiting_ms or 0))
        before_upstream = (exchange.access_ended_at or began) - exchange.started_at
        headers.replace(b"x-kong-proxy-latency", b"%d" % round(before_upstream * 1000))
        received = exchange.tried.http_headers if exchange.tried else None
        via = received.first(b"via") if received else None
        own = b"1.1 " + SERVER_TOKEN.encode()
        headers.replace(b"via", via + b", " + own if via else own)
        if headers.first(b"server") is None:
            headers.add(b"server", SERVER_TOKEN.encode())
    else:
        headers.replace(b"x-kong-response-latency", b"%d" % round((began - exchange.started_at) * 1000))
        headers.replace(b"server", SERVER_TOKEN.encode())
    headers.replace(b"x-kong-request-id", exchange.request_id.encode())
    if headers.first(b"date") is None:
        headers.add(b"date", _date(int(began)))


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
