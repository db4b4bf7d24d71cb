"""A budget that crosses a threshold tells a webhook, once, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.system import System, eventually

SECRET = "whsec-for-this-test"


class Receiver(ThreadingHTTPServer):
    """A webhook endpoint that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.deliveries: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Endpoint(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.deliveries.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the test's output is what matters."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_crossing_half_of_a_budget_sends_one_signed_webhook(system: System, receiver: Receiver) -> None:
    system.create("webhooks", url=receiver.url, secret=SECRET)
    team = system.new_team("alerted")
    team.behave(output_tokens="max")
    team.post(team.request(max_tokens=200)).raise_for_status()
    cost_nusd = team.books()[0]["amount_nusd"]
    team.set_cap_nusd(cost_nusd * 3)

    team.post(team.request(max_tokens=200)).raise_for_status()

    def mine() -> list[tuple[dict[str, str], bytes]]:
        return [delivery for delivery in receiver.deliveries if json.loads(delivery[1])["team"] == team.slug]

    headers, body = eventually(mine, within_s=15, what="the webhook")[0]
    signed = headers["x-bursar-timestamp"].encode() + b"." + body
    assert headers["x-bursar-signature"] == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert json.loads(body)["percent"] == 50
    assert len(mine()) == 1
