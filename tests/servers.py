"""One Valkey and one Postgres for a whole test run, started when a test first asks, shared by all xdist workers.

REDIS_URL and DATABASE_URL name servers to use instead. The addresses are chosen before anything starts, since Django
reads its settings first. Each server has a guardian, a process of its own, that stops it when the run is over,
however the run ended.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import redis

from stack.ports import free_ports
from stack.postgres import create_database, database_url, initialise, postgres_program
from stack.programs import REPOSITORY, Program
from stack.valkey import redis_url, valkey_program

_FOLDER: Final = "BURSAR_TEST_SERVERS"
_PATIENCE_S: Final = 60
# Valkey has 16 databases; 0 is for whoever takes the URL as it is, and 1 is Celery's.
_FIRST_DATABASE, _DATABASES = 2, 14


@dataclass(frozen=True)
class Server:
    """One server of this run; `guarded` if the run itself starts it."""

    name: str
    url: str
    guarded: bool
    folder: Path
    answers: Callable[[str], bool]

    def start(self) -> str:
        """Make sure that it answers; return its URL."""
        if self.guarded:
            with (self.folder / f"{self.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self.folder / f"{self.name}.pid").exists():
                    self._start_guardian()
        return self.url

    def _start_guardian(self) -> None:
        log_file = self.folder / f"{self.name}.log"
        run_process = (self.folder / "run").read_text()
        with log_file.open("wb") as log:
            guardian = subprocess.Popen(
                [sys.executable, "-m", "tests.servers", self.name, run_process, str(self.folder), self.url],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        eventually(lambda: self.answers(self.url) or guardian.poll() is not None, self.name)
        if guardian.poll() is not None:
            raise RuntimeError(f"{self.name} did not start:\n{log_file.read_text()}")
        (self.folder / f"{self.name}.pid").write_text(str(guardian.pid))
        guardian.returncode = 0  # its end is its own business


def valkey_server() -> Server:
    """The run's Valkey, with this worker's own database if it is the run's own."""
    folder = _folder()
    url = (folder / "redis_url").read_text()
    guarded = (folder / "password").read_text() in url
    if guarded:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        url = f"{url.rsplit('/', 1)[0]}/{_FIRST_DATABASE + int(worker) % _DATABASES}"
    return Server("valkey", url, guarded, folder, _valkey_answers)


def postgres_server() -> Server:
    """The run's Postgres, with an empty database."""
    folder = _folder()
    url = (folder / "database_url").read_text()
    return Server("postgres", url, (folder / "password").read_text() in url, folder, _postgres_answers)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds; a RuntimeError says what was waited for in vain."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"waited {_PATIENCE_S} s for {what}")
        time.sleep(0.02)


def _folder() -> Path:
    """This run's folder: made by its first process, named to the workers in their environment."""
    if _FOLDER not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="bursar-test-"))
        os.environ[_FOLDER] = str(folder)
        ports, password = free_ports(), secrets.token_hex(16)
        (folder / "run").write_text(str(os.getpid()))
        (folder / "password").write_text(password)
        (folder / "redis_url").write_text(os.environ.get("REDIS_URL") or redis_url(ports.redis, password))
        (folder / "database_url").write_text(os.environ.get("DATABASE_URL") or database_url(ports.postgres, password))
        atexit.register(_end_run, folder)
    return Path(os.environ[_FOLDER])


def _end_run(folder: Path) -> None:
    for pid_file in folder.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
        eventually(partial(_is_gone, pid_file), f"the end of {pid_file.stem}")
    shutil.rmtree(folder, ignore_errors=True)


def _is_gone(file: Path) -> bool:
    return not file.exists()


def _valkey_answers(url: str) -> bool:
    with suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


def _postgres_answers(url: str) -> bool:
    with suppress(psycopg.OperationalError):
        create_database(url)
        return True
    return False


def _program(name: str, folder: Path, url: str) -> Program:
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    password = (folder / "password").read_text()
    if name == "valkey":
        return valkey_program(folder / "valkey", port, password)
    initialise(folder / "postgres", password)
    return postgres_program(folder / "postgres", port)


def _guard(name: str, run_process: int, folder: Path, url: str) -> None:
    """Run one server until the test run is over, or until asked to stop. Of a run that was killed, the last guardian
    removes the folder."""
    program = _program(name, folder, url)
    stop_reader, stop_writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(stop_writer, b"."))
    server = subprocess.Popen(program.command)
    is_killed = True
    with suppress(ProcessLookupError):
        run = os.pidfd_open(run_process)
        is_killed = run in select.select([run, os.pidfd_open(server.pid), stop_reader], [], [])[0]
    server.send_signal(getattr(signal, f"SIG{program.stop_signal}"))
    server.wait()
    (folder / f"{name}.pid").unlink(missing_ok=True)
    if is_killed and not list(folder.glob("*.pid")):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
