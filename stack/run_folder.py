"""The folder of one system: one system at a time runs in it, and what it says of itself lies in it."""

from __future__ import annotations

import json
import os
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from stack.errors import FolderInUseError
from stack.readiness import eventually
from stack.secret_file import write_private

_STOPS_WITHIN_S = 40


class RunFolder:
    """Holds the folder from `take` to `leave`. `ready.json` is there only in between, and only once all answers."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.ready_file = self.path / "ready.json"
        self._keys_file = self.path / "demo_keys.json"
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder ours, waiting for a system that is still on its way out.

        Raises:
            FolderInUseError: one runs in it.
        """
        lock = self._open_lock()
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise FolderInUseError(f"a system runs in {self.path}: stop it, or set BURSAR_RUN_DIR") from None
        self._lock = lock
        self.ready_file.unlink(missing_ok=True)
        # One whose starter was killed still stops its programs in good order, Postgres last.
        eventually(lambda: not self._is_still_stopping(), "the end of the run before", within_s=_STOPS_WITHIN_S)

    def leave(self) -> None:
        """Give the folder back; what a system of somebody else's has put there stays."""
        if self._lock is None:
            return
        self.ready_file.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def say_ready(self, ready: dict[str, Any]) -> None:
        write_private(self.ready_file, json.dumps(ready, indent=2) + "\n")

    def known_keys(self) -> dict[str, str]:
        """The demo's virtual keys by name, from the last start; a key is shown only once, so they are kept here."""
        keys: dict[str, str] = json.loads(self._keys_file.read_text()) if self._keys_file.exists() else {}
        return keys

    def keep_keys(self, keys: dict[str, str]) -> None:
        write_private(self._keys_file, json.dumps(keys, indent=2) + "\n")

    def _open_lock(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError as error:
            message = f"{self.path} is another user's: set BURSAR_RUN_DIR to a folder of your own"
            raise FolderInUseError(message) from error

    def _is_still_stopping(self) -> bool:
        try:
            process_id = int((self.path / "supervisord.pid").read_text())
            command = Path(f"/proc/{process_id}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return str(self.path / "supervisord.conf").encode() in command
