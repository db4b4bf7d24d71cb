"""Runs programs under supervisord: restarts what dies, stops everything in order, leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.errors import SupervisionError
from stack.programs import REPOSITORY, Program
from stack.secret_file import write_private
from stack.supervisord_file import supervisord_file


class Supervisor:
    """A supervisord of our own with the programs it knows; each has a log file of its name in `logs`.

    Programs get `environment` (by default this process's own), and over it what each of them asks for.
    """

    def __init__(
        self, run: Path, socket: Path, programs: Sequence[Program], environment: Mapping[str, str] = os.environ
    ) -> None:
        self.logs = run / "logs"
        self._environment = environment
        self._run = run
        self._socket = socket
        self._programs = {program.name: program for program in programs}
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    def start(self) -> None:
        """Start the supervisor, with none of its programs yet.

        Raises:
            SupervisionError: it did not come up.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        configuration = self._run / "supervisord.conf"
        programs = list(self._programs.values())
        write_private(
            configuration,
            supervisord_file(run=self._run, logs=self.logs, socket=self._socket, programs=programs),
        )
        reading_end, self._lifeline = os.pipe()
        with self._errors().open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stack.supervisord", str(configuration)],
                stdin=reading_end,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=REPOSITORY,
                env=dict(self._environment),
                start_new_session=True,
            )
        os.close(reading_end)
        self._await_answer()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def run(self, *names: str) -> None:
        """Start programs and return without waiting for them to be ready; one that dies at once is started again."""
        for name in names:
            try:
                self._call("startProcess", self._full_name(name), False)
            except SupervisionError as error:
                if not _has_died_at_once(error.__cause__):
                    raise

    def process_id(self, name: str) -> int | None:
        """The process that runs a program now, or None between two lives."""
        return self._information(name)["pid"] or None

    def started_at_s(self, name: str) -> int:
        """When the program's present or last process was started, in Unix seconds."""
        started_s: int = self._information(name)["start"]
        return started_s

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End every program, databases last, and then the supervisor; what does not end in time is killed."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _await_answer(self) -> None:
        give_up_s = time.monotonic() + 20
        while time.monotonic() < give_up_s and self.is_alive():
            try:
                self._call("getState")
                return
            except SupervisionError:
                time.sleep(0.02)
        raise SupervisionError(f"supervisord did not start: {self._errors().read_text()[-2000:]}")

    def _errors(self) -> Path:
        return self.logs / "supervisord.stderr"

    def _information(self, name: str) -> dict[str, Any]:
        information: dict[str, Any] = self._call("getProcessInfo", self._full_name(name))
        return information

    def _full_name(self, name: str) -> str:
        return f"{self._programs[name].group}:{name}"

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            with ServerProxy("http://127.0.0.1", transport=transport) as server:
                return getattr(server.supervisor, method)(*arguments)
        except (OSError, HTTPException, Fault) as error:
            raise SupervisionError(f"supervisord does not answer: {error}") from error


def _has_died_at_once(cause: BaseException | None) -> bool:
    """Whether supervisord has started a program that died before it answered; it tries again as with one that dies
    later."""
    return isinstance(cause, Fault) and cause.faultCode == Faults.SPAWN_ERROR
