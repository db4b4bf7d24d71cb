"""What dies comes back; what stops leaves nothing behind, however it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from stack.errors import SupervisionError
from stack.programs import Program, python
from stack.supervision import Supervisor

Found = TypeVar("Found")

_SLEEPER = "import time; print('sleeping', flush=True); time.sleep(600)"


@pytest.fixture
def sleeper() -> Program:
    return Program(name="sleeper", command=python("-c", _SLEEPER))


@pytest.fixture
def supervisor(short_folder: Path, sleeper: Program) -> Iterator[Supervisor]:
    with _supervisor_of(short_folder, sleeper) as supervisor:
        yield supervisor


def _eventually(look: Callable[[], Found | None]) -> Found:
    give_up_s = time.monotonic() + 20
    while time.monotonic() < give_up_s:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


def _is_gone(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_program_that_is_killed_comes_back(supervisor: Supervisor) -> None:
    supervisor.run("sleeper")
    first = _eventually(lambda: supervisor.process_id("sleeper"))
    os.kill(first, signal.SIGKILL)
    second = _eventually(lambda: {supervisor.process_id("sleeper")} - {None, first})
    assert second


def test_what_a_program_says_is_in_its_log(supervisor: Supervisor) -> None:
    supervisor.run("sleeper")
    _eventually(lambda: _text_of(supervisor.logs / "sleeper.log") == "sleeping\n")


def test_a_stop_ends_every_program(supervisor: Supervisor) -> None:
    supervisor.run("sleeper")
    process_id = _eventually(lambda: supervisor.process_id("sleeper"))
    supervisor.stop()
    assert _is_gone(process_id)
    assert not supervisor.is_alive()


def test_programs_end_with_a_supervisor_that_is_killed(supervisor: Supervisor) -> None:
    supervisor.run("sleeper")
    process_id = _eventually(lambda: supervisor.process_id("sleeper"))
    os.kill(int((supervisor.logs.parent / "supervisord.pid").read_text()), signal.SIGKILL)
    _eventually(lambda: _is_gone(process_id))


def test_programs_end_with_a_starter_that_is_killed(short_folder: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-m", "tests.stack.starter", str(short_folder), _SLEEPER])
    try:
        process_id = int(_eventually(lambda: _text_of(short_folder / "started")))
        supervisor_id = int(_eventually(lambda: _text_of(short_folder / "supervisord.pid")))
    finally:
        starter.kill()
        starter.wait()
    _eventually(lambda: _is_gone(process_id))
    _eventually(lambda: _is_gone(supervisor_id))


def test_the_environment_reaches_a_program_as_it_is(short_folder: Path) -> None:
    value = "a,b=c %(x)s %20 back\\slash path/?.lua;;"
    command = python("-c", "import os; print(os.environ['SHOWN'])")
    show = Program(name="show", command=command, environment={"SHOWN": value})
    with _supervisor_of(short_folder, show) as supervisor:
        supervisor.run("show")
        _eventually(lambda: (_text_of(supervisor.logs / "show.log") or "").startswith(f"{value}\n"))


@pytest.mark.parametrize("value", ['say "hello"', "two\nlines", "a ;comment", "it's"])
def test_a_value_that_supervisord_would_change_is_refused(short_folder: Path, value: str) -> None:
    program = Program(name="show", command=["true"], environment={"SHOWN": value})
    with pytest.raises(SupervisionError, match="SHOWN"):
        _supervisor_of(short_folder, program).start()


def test_programs_that_cannot_be_started_are_named_however_soon_each_dies(short_folder: Path) -> None:
    lost = [Program(name=f"lost{number}", command=["/no/such/file"]) for number in range(20)]
    with _supervisor_of(short_folder, *lost) as supervisor:
        supervisor.run(*(program.name for program in lost))
        logs = [supervisor.logs / f"{program.name}.log" for program in lost]
        _eventually(lambda: all("/no/such/file" in (_text_of(log) or "") for log in logs))


def _supervisor_of(folder: Path, *programs: Program) -> Supervisor:
    return Supervisor(folder, folder / "supervisor.sock", programs)


def _text_of(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
