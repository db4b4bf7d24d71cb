"""An upstream whose every answer is in the test's hand, event by event, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

_PATIENCE_SECONDS: Final = 10


@dataclass
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for present, value in self.headers if present == name), None)


@dataclass
class Stream:
    """An answer that the test sends piece by piece."""

    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    is_cut_off: threading.Event = field(default_factory=threading.Event)

    def send(self, piece: bytes) -> None:
        """Send a piece now."""
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)

    def finish(self) -> None:
        """End the answer properly."""
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, None)

    def wait_until_cut_off(self) -> bool:
        """Wait until the gateway has closed the connection before the end."""
        return self.is_cut_off.wait(_PATIENCE_SECONDS)


class Upstream:
    """Answers `/echo` at once, `/stream` from the test's hand, `/cut` with half an answer, `/hang` never."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.port = 0
        self._streams: queue.Queue[Stream] = queue.Queue()
        self._loop = asyncio.new_event_loop()

    @property
    def last(self) -> Received:
        return self.received[-1]

    def next_stream(self) -> Stream:
        """The next request for a stream that has arrived, or is to."""
        return self._streams.get(timeout=_PATIENCE_SECONDS)

    @contextlib.contextmanager
    def running(self) -> Iterator[Upstream]:
        started = threading.Event()
        thread = threading.Thread(target=self._run, args=(started,))
        thread.start()
        assert started.wait(_PATIENCE_SECONDS)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def _run(self, started: threading.Event) -> None:
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in request.raw_headers]
        self.received.append(Received(request.method, request.path_qs, headers, await request.read()))
        kind = request.path.rpartition("/")[2]
        if kind == "stream":
            return await self._stream(request)
        if kind == "cut":
            return await self._cut(request)
        if kind == "hang":
            await asyncio.sleep(3600)
        answer = web.Response(body=b"echo", headers={"x-upstream": "yes", "connection": "x-hop", "x-hop": "gone"})
        answer.headers.extend([("set-cookie", "a=1"), ("set-cookie", "b=2")])
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        stream = Stream(self._loop)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        self._streams.put(stream)
        try:
            while (piece := await stream.pieces.get()) is not None:
                await answer.write(piece)
        except (ConnectionError, asyncio.CancelledError):
            stream.is_cut_off.set()
            raise
        await answer.write_eof()
        return answer

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport
        request.transport.close()
        return answer
