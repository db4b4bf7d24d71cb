"""Postgres and Valkey from their wheels, as this user, whoever that is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from stack.ports import Ports, free_ports
from stack.postgres import create_database, database_url, initialise, postgres_program
from stack.readiness import answers, eventually, redis_answers
from stack.supervision import Supervisor
from stack.valkey import redis_url, valkey_program


@pytest.fixture
def ports() -> Ports:
    return free_ports()


@pytest.fixture
def postgres(short_folder: Path, ports: Ports) -> Iterator[Supervisor]:
    # Like a checkout under /root: an ordinary user could not pass this folder.
    closed = short_folder / "closed"
    closed.mkdir(mode=0o700)
    initialise(closed / "postgres", "secret")
    program = postgres_program(closed / "postgres", ports.postgres)
    with Supervisor(short_folder, short_folder / "supervisor.sock", [program]) as supervisor:
        supervisor.run("postgres")
        yield supervisor


def test_postgres_keeps_what_it_was_told_when_it_is_killed(postgres: Supervisor, ports: Ports) -> None:
    url = database_url(ports.postgres, "secret")
    eventually(lambda: answers(lambda: create_database(url), psycopg.OperationalError), "Postgres", within_s=20)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(postgres.process_id("postgres") or 0, signal.SIGKILL)
    eventually(lambda: answers(lambda: create_database(url), psycopg.OperationalError), "Postgres", within_s=20)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_postgres_wants_its_password(postgres: Supervisor, ports: Ports) -> None:
    url = database_url(ports.postgres, "secret")
    eventually(lambda: answers(lambda: create_database(url), psycopg.OperationalError), "Postgres", within_s=20)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(database_url(ports.postgres, "wrong"))


def test_an_interrupted_set_up_begins_anew(short_folder: Path) -> None:
    (short_folder / "postgres.new").mkdir()
    (short_folder / "postgres.new" / "half").write_text("")
    initialise(short_folder / "postgres", "secret")
    assert (short_folder / "postgres" / "PG_VERSION").exists()
    assert not (short_folder / "postgres.new").exists()


def test_valkey_answers_only_who_knows_the_password(short_folder: Path, ports: Ports) -> None:
    program = valkey_program(short_folder / "valkey", ports.redis, "secret")
    with Supervisor(short_folder, short_folder / "supervisor.sock", [program]) as supervisor:
        supervisor.run("valkey")
        eventually(lambda: redis_answers(redis_url(ports.redis, "secret")), "Valkey", within_s=20)
        assert not redis_answers(redis_url(ports.redis, "wrong"))
