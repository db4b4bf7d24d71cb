"""The clients of the bench have an SDK's manners, and every request of the crowd is made."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.crowd import Crowd, own_pause_s, pause_after_s


class Gateway(ThreadingHTTPServer):
    """Refuses each client's first attempts as it is told, and then answers."""

    daemon_threads = True

    def __init__(self, refusals: list[tuple[int, dict[str, str]]]) -> None:
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.refusals = refusals
        self.bodies: Counter[bytes] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Endpoint(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.server.bodies[self.rfile.read(int(self.headers["content-length"]))] += 1
        status, headers = self.server.refusals.pop() if self.server.refusals else (200, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        answer = b'{"error": {"code": "insufficient_quota"}}'
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway([]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(gateway: Gateway, requests: int) -> Counter[str]:
    crowd = Crowd(gateways=[gateway.url], key="bsr_x", body={"model": "m"}, requests=requests, concurrency=4)
    return asyncio.run(crowd.send())


def test_every_request_of_the_crowd_is_made_once_where_it_is_answered(gateway: Gateway) -> None:
    assert send(gateway, 10) == Counter({"answered": 10})
    assert gateway.bodies == Counter({b'{"model":"m"}': 10})


def test_a_refusal_that_asks_to_come_back_is_tried_again(gateway: Gateway) -> None:
    gateway.refusals[:] = [(503, {"retry-after-ms": "1"})] * 3

    assert send(gateway, 2) == Counter({"answered": 2})
    assert gateway.bodies.total() == 5


def test_a_refusal_that_asks_to_stay_away_is_final(gateway: Gateway) -> None:
    gateway.refusals[:] = [(429, {"x-should-retry": "false", "retry-after-ms": "1"})]

    assert send(gateway, 2) == Counter({"answered": 1, "429 insufficient_quota": 1})
    assert gateway.bodies.total() == 2


def test_a_client_that_is_told_nothing_waits_longer_each_time() -> None:
    assert 0.375 <= own_pause_s(0) <= 0.5
    assert 6 <= own_pause_s(20) <= 8


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        (503, {"retry-after": "2"}, 2.0),
        (400, {"x-should-retry": "true", "retry-after-ms": "1"}, 0.001),
        (400, {}, None),
        (403, {"retry-after-ms": "1"}, None),
        (503, {"x-should-retry": "false"}, None),
    ],
)
def test_headers_are_obeyed_as_an_sdk_obeys_them(status: int, headers: dict[str, str], pause_s: float | None) -> None:
    assert pause_after_s(status, headers, 0) == pause_s


@pytest.mark.parametrize("told", ["0", "-5", "61000"])
def test_a_pause_that_is_no_pause_or_too_long_is_the_clients_own(told: str) -> None:
    pause_s = pause_after_s(429, {"retry-after-ms": told}, 0)

    assert pause_s is not None
    assert 0.375 <= pause_s <= 0.5
