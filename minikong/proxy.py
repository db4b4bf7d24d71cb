"""The proxy: one ASGI application in which a request takes Kong's way through route, plugins and upstream."""

from __future__ import annotations

import time
from typing import Any, Final

import aiohttp

from minikong import phase
from minikong.answer import Answer, Send
from minikong.client_watch import ClientWatch, Receive
from minikong.configuration import Configuration
from minikong.error_answer import error_answer
from minikong.errors import LuaFault
from minikong.exchange import Exchange, Exit, Incoming, Target, elapsed_ms
from minikong.headers import Headers
from minikong.log import logger
from minikong.runloop import Runloop, kong_error
from minikong.settings import Settings
from minikong.upstream import NameUnknown, Upstream, UpstreamFailed, forwarded_lines
from minikong.uri import escape

_NGINX_DEFAULT_TYPE: Final = "text/plain"
# Of these a request has at most one; nginx answers a second one, or an HTTP/1.1 request without Host, with 400.
_UNIQUE: Final = frozenset(
    {b"host", b"authorization", b"proxy-authorization", b"content-length", b"transfer-encoding", b"expect"}
    | {b"content-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"}
)


class _Refused(Exception):
    """nginx refuses the request before any plugin of its route sees it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _ClientGone(Exception):
    """The client left before its request was whole, or before it was decided on."""


class Proxy:
    """Serves requests with the configuration of the moment at which each arrives."""

    def __init__(self, settings: Settings, configuration: Configuration, runloop: Runloop, upstream: Upstream) -> None:
        self.configuration = configuration
        self._settings = settings
        self._runloop = runloop
        self._upstream = upstream

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        configuration = self.configuration
        exchange = Exchange(
            _incoming(scope), configuration.plan_of_all, body_buffer_bytes=self._settings.body_buffer_bytes
        )
        answer = Answer(exchange, self._runloop, send)
        try:
            await self._serve(exchange, configuration, receive, answer)
        except LuaFault as fault:
            # An answer that is not finished here is cut off by uvicorn, as nginx cuts it off.
            logger.error(
                "failed to run %s_by_lua*: %s, request_id: %s", phase.NAMES[exchange.phase], fault, exchange.request_id
            )
        except _ClientGone:
            exchange.lose_client()
        except Exception:
            logger.exception("request_id: %s", exchange.request_id)
            raise
        finally:
            exchange.log_ended_at = time.time()
            self._runloop.log(exchange)

    async def _serve(self, exchange: Exchange, configuration: Configuration, receive: Receive, answer: Answer) -> None:
        try:
            self._check_head(exchange.incoming)
            await self._runloop.decide(exchange, phase.REWRITE)
            if exchange.exit is None:
                await self._access(exchange, configuration, receive)
        except _Refused as refusal:
            await answer.give(_nginx_error(exchange, refusal.status))
            return
        exchange.access_ended_at = time.time()
        if exchange.exit:
            await answer.give(exchange.exit)
        else:
            await self._forward(exchange, receive, answer)

    async def _access(self, exchange: Exchange, configuration: Configuration, receive: Receive) -> None:
        """Find the route, read the body, run access. Leaves `exit` where Kong answers itself."""
        incoming = exchange.incoming
        match = configuration.router.match(incoming.method, incoming.raw_path, incoming.port, incoming.headers)
        exchange.phase = phase.ACCESS
        if match is None:
            exchange.exit = kong_error(exchange, 404, "no Route matched with those values")
            return
        incoming.body = await self._read_body(receive)
        exchange.match = match
        exchange.plan = configuration.plans[match.route.id]
        exchange.target = _target(exchange)
        exchange.forwarded = forwarded_lines(exchange)
        await self._decide_access(exchange, receive)
        if exchange.exit is None and not exchange.target.host:
            exchange.exit = kong_error(exchange, 503, "no Service found with those values")

    async def _decide_access(self, exchange: Exchange, receive: Receive) -> None:
        """Run access. Where nginx is told to check (lua_check_client_abort), it ends as soon as the client has left;
        else it runs to its end, and the client is missed after it."""
        if not self._settings.checks_client_abort:
            await self._runloop.decide(exchange, phase.ACCESS)
            return
        async with ClientWatch(receive) as watch:
            await self._runloop.decide(exchange, phase.ACCESS)
        if watch.client_is_gone:
            raise _ClientGone

    def _check_head(self, incoming: Incoming) -> None:
        unique = [name for name, _ in incoming.headers.lines if name in _UNIQUE]
        if len(unique) > len(set(unique)) or (b"host" not in unique and incoming.http_version != "1.0"):
            raise _Refused(400)
        self._check_size(int(incoming.headers.first(b"content-length") or 0))

    def _check_size(self, length: int) -> None:
        if self._settings.max_body_bytes and length > self._settings.max_body_bytes:
            raise _Refused(413)

    async def _read_body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            chunks.append(message["body"])
            length += len(chunks[-1])
            self._check_size(length)
            if not message["more_body"]:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _forward(self, exchange: Exchange, receive: Receive, answer: Answer) -> None:
        exchange.proxied = True
        async with ClientWatch(receive) as watch:
            try:
                response = await self._upstream.open(exchange)
            except NameUnknown as error:
                logger.error("DNS resolution failed: %s, request_id: %s", error, exchange.request_id)
                exchange.proxied = False
                await answer.give(kong_error(exchange, 503, "name resolution failed"))
            except UpstreamFailed as failure:
                logger.error("%s, request_id: %s", failure, exchange.request_id)
                await answer.give(_nginx_error(exchange, failure.status))
            else:
                await self._relay(exchange, response, answer, watch)
        if watch.client_is_gone:
            exchange.lose_client()

    async def _relay(
        self, exchange: Exchange, response: aiohttp.ClientResponse, answer: Answer, watch: ClientWatch
    ) -> None:
        """Pass the answer on as it comes. Whatever ends this early closes the connection to the upstream."""
        tried = exchange.tried
        assert tried is not None
        try:
            await answer.begin()
            async for chunk in response.content.iter_any():
                tried.bytes_received += len(chunk)
                if not answer.is_over:
                    await answer.write(chunk)
                if answer.is_over:
                    # A filter has ended the answer: nginx reads the upstream's to its end all the same.
                    watch.stop()
            if not answer.is_over:
                await answer.write(b"", is_last=True)
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.error("upstream prematurely closed connection: %r, request_id: %s", error, exchange.request_id)
        finally:
            tried.response_ms = elapsed_ms(tried.started_at)
            exchange.receive_ms = tried.response_ms - (tried.header_ms or 0)
            response.close()


def _incoming(scope: Any) -> Incoming:
    return Incoming(
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        http_version=scope["http_version"],
        client=scope["client"],
        port=scope["server"][1],
        headers=Headers(scope["headers"]),
    )


def _target(exchange: Exchange) -> Target:
    incoming, match = exchange.incoming, exchange.match
    assert match is not None
    service = match.service
    target = Target(
        scheme=service.protocol if service else "http",
        host=service.host if service else "",
        port=service.port if service else 80,
        path=escape(match.upstream_path),
        host_header=(incoming.headers.first(b"host") or b"").decode("latin-1") if match.route.preserve_host else "",
        method=incoming.method,
        query=incoming.query,
    )
    if service:
        target.connect_timeout_ms, target.read_timeout_ms = service.connect_timeout, service.read_timeout
    return target


def _nginx_error(exchange: Exchange, status: int) -> Exit:
    """What Kong's error handler answers for an error of nginx (kong/error_handlers.lua)."""
    exchange.phase = phase.ERROR
    exchange.unexpected = True
    headers = exchange.incoming.headers
    accepted = headers.every(b"accept") or headers.every(b"content-type")
    answer = error_answer(status, accepted, exchange.request_id, default=_NGINX_DEFAULT_TYPE)
    return Exit(status, answer.body, answer.headers)
