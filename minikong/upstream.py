"""The way to the upstream: one try, streamed, with nginx's header rules, timeouts and error statuses."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from minikong import SERVER_TOKEN
from minikong.errors import MinikongError
from minikong.exchange import Exchange, Target, Try, elapsed_ms
from minikong.headers import Headers

# nginx sets these itself, or does not pass them to an upstream.
_NOT_SENT: Final = frozenset(
    {b"host", b"connection", b"content-length", b"expect", b"keep-alive", b"proxy", b"proxy-connection", b"te"}
    | {b"transfer-encoding", b"upgrade", b"via", b"x-real-ip", b"x-kong-request-id"}
    | {b"x-forwarded-" + name for name in (b"for", b"proto", b"host", b"port", b"path", b"prefix")}
)
# nginx keeps these from an upstream's answer to itself.
_NOT_PASSED: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"trailer", b"upgrade", b"proxy-connection", b"x-pad"}
    | {b"x-accel-" + name for name in (b"expires", b"redirect", b"limit-rate", b"buffering", b"charset")}
)
# Of these an answer has one, so the upstream's takes the place of what a plugin has set.
_ONCE: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"date", b"etag", b"last-modified", b"location"}
    | {b"server", b"accept-ranges", b"content-range"}
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Kong's own default is 60; many servers close after 5, and a call on a connection that just closes is a 502.
_IDLE_SECONDS: Final = 4
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")


class UpstreamFailed(MinikongError):
    """The upstream gave no answer; nginx answers `status` instead."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class NameUnknown(MinikongError):
    """The target's name does not resolve; Kong answers before nginx connects."""


class Upstream:
    """The client side of the gateway, with a pool of connections."""

    def __init__(self) -> None:
        """To be made inside the event loop that uses it."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_note_connection)
        trace.on_connection_reuseconn.append(_note_connection)
        trace.on_request_headers_sent.append(_note_head)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trace_configs=[trace],
        )

    async def close(self) -> None:
        await self._session.close()

    async def open(self, exchange: Exchange) -> aiohttp.ClientResponse:
        """Send the request and return the answer's head; its body is still to be read.

        Raises UpstreamFailed, or NameUnknown.
        """
        target = exchange.target
        assert target is not None
        exchange.tried = Try(address=f"{target.host}:{target.port}", started_at=time.time())
        try:
            response = await self._session.request(
                target.method,
                _url(target),
                data=exchange.incoming.body or None,
                headers=_request_headers(exchange, target),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=target.connect_timeout_ms / 1000,
                    sock_read=target.read_timeout_ms / 1000,
                ),
                allow_redirects=False,
                ssl=_verifies_tls(exchange),
                trace_request_ctx=exchange.tried,
            )
        except aiohttp.ClientConnectorDNSError as error:
            exchange.tried = None
            raise NameUnknown(str(error)) from error
        except TimeoutError as error:
            raise self._failed(exchange.tried, 504, error) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failed(exchange.tried, 502, error) from error
        _take_head(exchange, exchange.tried, response)
        return response

    def _failed(self, tried: Try, status: int, error: BaseException) -> UpstreamFailed:
        tried.status = status
        tried.response_ms = elapsed_ms(tried.started_at)
        return UpstreamFailed(status, f"{str(error) or type(error).__name__}, upstream: {tried.address}")


def _url(target: Target) -> URL:
    query = "?" + _NOT_ASCII.sub(lambda byte: f"%{ord(byte[0]):02X}", target.query) if target.query else ""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return URL(f"{target.scheme}://{host}:{target.port}{target.path}{query}", encoded=True)


def _verifies_tls(exchange: Exchange) -> bool:
    """Kong checks an upstream's certificate only where the service asks for it."""
    return exchange.service is not None and exchange.service.tls_verify


def _request_headers(exchange: Exchange, target: Target) -> CIMultiDict[str]:
    incoming = exchange.incoming
    dropped = _NOT_SENT | _named_by_connection(incoming.headers)
    headers = CIMultiDict({"host": target.host_header or _host_header(target)})
    for name, value in (*exchange.forwarded, *[line for line in incoming.headers.lines if line[0] not in dropped]):
        headers.add(name.decode("latin-1"), _header_text(value))
    headers.add("x-real-ip", incoming.client[0])
    headers.add("x-kong-request-id", exchange.request_id)
    return headers


def _header_text(value: bytes) -> str:
    """aiohttp sends headers as UTF-8; a value that is none goes out re-encoded, the one thing that nginx would not."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _host_header(target: Target) -> str:
    if target.port == _DEFAULT_PORTS[target.scheme]:
        return target.host
    return f"{target.host}:{target.port}"


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    named = b",".join(headers.every(b"connection")).lower().split(b",")
    return frozenset(name.strip() for name in named) - {b"", b"close", b"keep-alive", b"upgrade"}


def forwarded_lines(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What tells the upstream of the client (kong/runloop/handler.lua, access.before); nobody is a trusted proxy."""
    incoming = exchange.incoming
    address = incoming.client[0].encode()
    before = incoming.headers.first(b"x-forwarded-for")
    via = incoming.headers.first(b"via")
    own = f"{incoming.http_version} {SERVER_TOKEN}".encode()
    lines = [
        (b"x-forwarded-for", before + b", " + address if before else address),
        (b"x-forwarded-proto", incoming.scheme.encode()),
        (b"x-forwarded-host", incoming.host.encode("latin-1")),
        (b"x-forwarded-port", b"%d" % incoming.port),
        (b"x-forwarded-path", incoming.raw_path.encode("latin-1")),
        (b"via", via + b", " + own if via else own),
    ]
    prefix = exchange.match.prefix if exchange.match else None
    if prefix and prefix != "/":
        lines.append((b"x-forwarded-prefix", prefix.encode("latin-1")))
    return lines


def _take_head(exchange: Exchange, tried: Try, response: aiohttp.ClientResponse) -> None:
    tried.header_ms = elapsed_ms(tried.started_at)
    tried.status = exchange.status = response.status
    received = Headers((name.lower(), value) for name, value in response.raw_headers)
    tried.http_headers = received
    dropped = _NOT_PASSED | _named_by_connection(received)
    answer = exchange.answer_headers
    answer.remove(*(_ONCE & {name for name, _ in received.lines}))
    answer.lines += [line for line in received.lines if line[0] not in dropped]


async def _note_connection(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    tried = context.trace_request_ctx
    tried.connect_ms = elapsed_ms(tried.started_at)


async def _note_head(
    _: aiohttp.ClientSession, context: SimpleNamespace, sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """A count for ngx.var.upstream_bytes_sent, of which only zero or not is exact."""
    context.trace_request_ctx.bytes_sent = sum(len(name) + len(value) + 4 for name, value in sent.headers.items())
