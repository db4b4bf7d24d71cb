"""Shows the programs' log files as they grow, each line under its program's name and colour."""

from __future__ import annotations

import os
import sys
import threading
from io import BufferedReader
from pathlib import Path
from typing import Final, TextIO

_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93)
_LOOK_EVERY_S: Final = 0.1


class LogView:
    """Follows one log file a program, from what is already in it on, also when supervisord turns it over."""

    def __init__(self, logs: Path, names: list[str], out: TextIO = sys.stdout) -> None:
        self._files = {name: _Followed(logs / f"{name}.log") for name in names}
        self._width = max(map(len, names))
        self._colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
        self._coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._out = out
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what is left, then end."""
        self._stopping.set()
        self._thread.join()
        for file in self._files.values():
            file.close()

    def _follow(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            self._show_new()
        self._show_new()

    def _show_new(self) -> None:
        for name, file in self._files.items():
            for line in file.new_lines():
                self._out.write(f"{self._prefix(name)} {line}\n")
        self._out.flush()

    def _prefix(self, name: str) -> str:
        text = f"{name:<{self._width}} │"
        return f"\033[{self._colours[name]}m{text}\033[0m" if self._coloured else text


class _Followed:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file = self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def new_lines(self) -> list[str]:
        if self._file is None:
            self._file = self._open()
        data = self._rest + (self._file.read() if self._file else b"")
        if self._file is not None and self._is_turned_over(self._file):
            self._file.close()
            self._file = None
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> BufferedReader | None:
        try:
            return self._path.open("rb")
        except FileNotFoundError:
            return None

    def _is_turned_over(self, file: BufferedReader) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return True
