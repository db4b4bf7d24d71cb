"""An engine on this worker's Redis, and a Redis of a test's own to break."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stack.ports import free_ports
from stack.valkey import redis_url, valkey_program
from tests.llm.store.engine import Engine
from tests.llm.store.own_node import Node
from tests.llm.store.waiter import SLOTS
from tests.servers import eventually


class OwnValkey:
    """A Valkey with an append-only file, that a test may fill, kill and start again."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "valkey"
        self._port = free_ports().redis
        self.url = redis_url(self._port, "secret")
        self.client = redis.Redis.from_url(self.url)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = valkey_program(self._data, self._port, "secret").command
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(self._answers, "Valkey")
        # With a flush a second, a busy disk may put off the writing too, and a killed server lose what it has answered.
        self.client.config_set("appendfsync", "always")

    def pause(self) -> None:
        """Accept connections and answer nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    yield from _running_valkey()


@pytest.fixture
def other_valkey() -> Iterator[OwnValkey]:
    """A second one, for what is about two."""
    yield from _running_valkey()


def _running_valkey() -> Iterator[OwnValkey]:
    with tempfile.TemporaryDirectory() as folder:
        valkey = OwnValkey(Path(folder))
        valkey.start()
        yield valkey
        valkey.client.close()
        valkey.kill()


@pytest.fixture
def node(own_valkey: OwnValkey, tmp_path: Path) -> Iterator[Node]:
    node = Node(own_valkey.url, tmp_path / "journal")
    yield node
    node.close()


@pytest.fixture
def engine(client: redis.Redis, organization: str) -> Engine:
    return Engine(client, organization)


@pytest.fixture
def real_time(client: redis.Redis, organization: str) -> Engine:
    """An engine by Redis' own clock."""
    return Engine(client, organization, settable_clock=False)


@pytest.fixture
def busy(engine: Engine) -> Engine:
    """One slot, which is taken."""
    engine.enforce(SLOTS)
    engine.hold(request_id="first")
    return engine
