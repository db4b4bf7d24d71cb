"""Find the processes of one system by what they were started with, to kill them as an operator or a fault would."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def process_ids(*words: str) -> list[int]:
    """The processes whose command line holds every one of these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _command_line_holds(entry, words):
            found.append(int(entry.name))
    return [process_id for process_id in found if process_id != os.getpid()]


def kill_at_once(process_id: int) -> None:
    """`kill -9`; a process that is already gone is fine."""
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return


def _command_line_holds(entry: Path, words: tuple[str, ...]) -> bool:
    try:
        arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return all(any(word in argument for argument in arguments) for word in words)
