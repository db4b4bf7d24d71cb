"""What a program is to the supervisor."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

REPOSITORY: Final = Path(__file__).parents[1]
Group = Literal["databases", "services"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that is to run until the system stops; databases stop after everything else has.

    `stop_signal` asks it to end in good order; it is sent, too, should the supervisor itself be killed. With
    `stop_group` the processes that it has started are asked as well, for programs that do not pass a signal on.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    group: Group = "services"
    stop_signal: str = "TERM"
    stop_group: bool = False


def python(*arguments: str) -> list[str]:
    """A command of this very interpreter."""
    return [sys.executable, *arguments]


def script(name: str, *arguments: str) -> list[str]:
    """A command of this very virtual environment."""
    return [str(Path(sys.prefix) / "bin" / name), *arguments]


def tied_to_its_parent(command: list[str], stop_signal: str) -> list[str]:
    """The same command, told to stop when whoever started it is gone, even by `kill -9`."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop_signal, *command] if setpriv else command
