"""The Postgres and the Valkey of the large organization; their data stay under `.run/large`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import redis

from stack.ports import free_ports
from stack.postgres import create_database, database_url, initialise, postgres_program
from stack.programs import REPOSITORY, Program, python, tied_to_its_parent
from stack.secret_file import keep_secrets
from stack.valkey import redis_url, valkey_program

FOLDER: Final = REPOSITORY / ".run" / "large"
# Written when all rows are there; a run that was interrupted leaves none.
SEEDED: Final = FOLDER / "seeded.json"
_START_S: Final = 60
_STOP_S: Final = 60


def forget() -> None:
    """Remove the data of the last run."""
    shutil.rmtree(FOLDER, ignore_errors=True)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Both servers, while the block runs; yields the environment of a control plane that uses them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    ports = free_ports()
    secrets = keep_secrets(FOLDER / "secrets", {})
    data = FOLDER / "postgres"
    initialise(data, secrets["POSTGRES_PASSWORD"])
    url = database_url(ports.postgres, secrets["POSTGRES_PASSWORD"])
    live_url = redis_url(ports.redis, secrets["REDIS_PASSWORD"])
    programs = [
        postgres_program(data, ports.postgres),
        valkey_program(FOLDER / "valkey", ports.redis, secrets["REDIS_PASSWORD"]),
    ]
    # Asked to end, the block ends, and the servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    running = [_start(program) for program in programs]
    try:
        _await(url, live_url)
        yield (
            os.environ
            | secrets
            | {
                "DATABASE_URL": url,
                "REDIS_URL": live_url,
                "DJANGO_SETTINGS_MODULE": "control_plane.settings",
            }
        )
    finally:
        for program, process in zip(programs, running, strict=True):
            process.send_signal(signal.Signals[f"SIG{program.stop_signal}"])
            process.wait(_STOP_S)


def run(environment: dict[str, str], *arguments: str) -> int:
    """Run a Python program of ours with the environment; return its exit code."""
    return subprocess.run(python(*arguments), env=environment, cwd=REPOSITORY, check=False).returncode


def _start(program: Program) -> subprocess.Popen[bytes]:
    log = FOLDER / f"{program.name}.log"
    with log.open("ab") as file:
        return subprocess.Popen(
            tied_to_its_parent(program.command, program.stop_signal), stdout=file, stderr=file, cwd=Path("/")
        )


def _await(url: str, live_url: str) -> None:
    """Wait until both answer, and make the database."""
    give_up_s = time.monotonic() + _START_S
    while True:
        try:
            create_database(url)
            with redis.Redis.from_url(live_url) as client:
                client.ping()
        except (psycopg.OperationalError, redis.ConnectionError, redis.BusyLoadingError):
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.1)
        else:
            return
