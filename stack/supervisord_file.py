"""Writes supervisord's configuration for a list of programs.

Source: http://supervisord.org/configuration.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import Final, get_args

from stack.errors import SupervisionError
from stack.programs import REPOSITORY, Group, Program, tied_to_its_parent

STOP_WAIT_S: Final = 10
_LOG_BYTES: Final = 20_000_000
# supervisord knows quotes in `environment =` but no escapes, and comments even inside of quotes.
_UNSPEAKABLE: Final = re.compile(r"[\"'\n\r]|\s[;#]")

_SUPERVISORD = """\
[supervisord]
logfile = {logs}/supervisord.log
pidfile = {run}/supervisord.pid
childlogdir = {logs}
directory = {directory}
silent = true
{user}
[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

# With startsecs 0 a program that died is started again at once, however short it lived.
_PROGRAM = """\
[program:{name}]
command = {command}
environment = {environment}
autostart = false
autorestart = true
startsecs = 0
stopsignal = {stop_signal}
stopasgroup = {stop_group}
stopwaitsecs = {stop_wait_s}
killasgroup = true
redirect_stderr = true
stdout_logfile = {logs}/{name}.log
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = 2
"""


def supervisord_file(*, run: Path, logs: Path, socket: Path, programs: Sequence[Program]) -> str:
    """The whole configuration; no program starts by itself, and groups stop in the reverse of their order.

    Raises:
        SupervisionError: a program's environment holds what supervisord cannot pass on.
    """
    head = _SUPERVISORD.format(
        logs=_escaped(logs),
        run=_escaped(run),
        directory=_escaped(REPOSITORY),
        socket=_escaped(socket),
        user="user = root\n" if os.geteuid() == 0 else "",
    )
    groups = enumerate(get_args(Group))
    return "\n".join(
        [
            head,
            *(_program_section(program, logs) for program in programs),
            *(_group_section(group, priority, programs) for priority, group in groups),
        ]
    )


def _program_section(program: Program, logs: Path) -> str:
    return _PROGRAM.format(
        name=program.name,
        command=_escaped(join(tied_to_its_parent(program.command, program.stop_signal))),
        environment=",".join(f"{name}={_quoted(name, value)}" for name, value in program.environment.items()),
        stop_signal=program.stop_signal,
        stop_group=str(program.stop_group).lower(),
        stop_wait_s=STOP_WAIT_S,
        logs=_escaped(logs),
        log_bytes=_LOG_BYTES,
    )


def _group_section(group: str, priority: int, programs: Sequence[Program]) -> str:
    members = ",".join(program.name for program in programs if program.group == group)
    return f"[group:{group}]\nprograms = {members}\npriority = {priority}\n" if members else ""


def _escaped(text: object) -> str:
    """supervisord expands %(…)s in its values."""
    return str(text).replace("%", "%%")


def _quoted(name: str, value: str) -> str:
    if _UNSPEAKABLE.search(value):
        raise SupervisionError(f"{name} holds a quote, a line break or a comment sign: supervisord cannot pass it on")
    return f'"{_escaped(value)}"'
