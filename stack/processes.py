"""Find the processes of one system by what they were started with, to kill them as an operator or a fault would."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def process_ids(*words: str) -> list[int]:
    """The processes whose command line holds every one of these words."""
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and entry.name != str(os.getpid()))
    return [int(entry.name) for entry in entries if _command_line_holds(entry, words)]


def descendants_of(process_id: int) -> list[int]:
    """The children of a process, and theirs."""
    try:
        tasks = list(Path(f"/proc/{process_id}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *descendants_of(child))]


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
