"""A running provider simulator, and an account of its own for each test."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest


@dataclass(frozen=True)
class Account:
    """One customer of the provider: its own behaviour, its own books."""

    provider_url: str
    name: str
    to_close: ExitStack

    def behave(self, **behaviour: Any) -> None:
        answer = httpx.put(f"{self.provider_url}/_behaviour", params={"account": self.name}, json=behaviour)
        answer.raise_for_status()

    def books(self) -> dict[str, Any]:
        books: dict[str, Any] = httpx.get(f"{self.provider_url}/_books", params={"account": self.name}).json()
        return books

    def only_call(self) -> dict[str, Any]:
        (call,) = self.books()["calls"]
        assert isinstance(call, dict)
        return call

    def client(self) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.provider_url}/v1", api_key=self.name, max_retries=0)
        return self.to_close.enter_context(client)


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "demo.simulator", "--port", str(port)])
    try:
        yield _answering(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def account(provider_url: str) -> Iterator[Account]:
    with ExitStack() as to_close:
        yield Account(provider_url, f"sk-sim-{secrets.token_hex(6)}", to_close)


def _answering(url: str, process: subprocess.Popen[bytes]) -> str:
    give_up_s = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < give_up_s:
        try:
            httpx.get(url).raise_for_status()
            return url
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the simulator did not start")
