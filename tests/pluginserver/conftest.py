"""A running plugin server, started as Kong starts it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pluginserver.kong import KongWorker

COMMAND = str(Path(sys.executable).with_name("bursar-pluginserver"))
TRIAL = str(Path(__file__).with_name("trial.py"))
PATIENCE_S = 20.0


class Running:
    """A plugin server's process and the connections of a worker to it."""

    def __init__(self, prefix: Path, *options: str, plugin: str = TRIAL) -> None:
        self.path = prefix / f"{Path(plugin).stem}.socket"
        self._before = self.path.stat().st_ino if self.path.exists() else None
        self.process = subprocess.Popen(
            [COMMAND, plugin, "-p", str(prefix), *options], env={}, stderr=subprocess.PIPE, text=True
        )
        self._workers: list[KongWorker] = []

    def wait_until_it_listens(self) -> None:
        """Until the path is this process's socket, and not a predecessor's."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.path.exists() or self.path.stat().st_ino == self._before:
            assert self.process.poll() is None, "the plugin server ended"
            assert time.monotonic() < give_up_at, "the plugin server does not listen"
            time.sleep(0.01)

    def worker(self) -> KongWorker:
        self._workers.append(KongWorker(self.path))
        return self._workers[-1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it as Kong does; returns what it wrote."""
        for worker in self._workers:
            worker.close()
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_S)[1]


@contextlib.contextmanager
def running(prefix: Path, *options: str, plugin: str = TRIAL) -> Iterator[Running]:
    server = Running(prefix, *options, plugin=plugin)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


def wait_for_the_end_of(process_id: int) -> None:
    """Until a process, not necessarily a child, has ended."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0], "the process goes on"
    finally:
        os.close(descriptor)
