"""One system a folder, and what is written into it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from stack.errors import FolderInUseError
from stack.run_folder import RunFolder


def test_a_folder_holds_one_system_at_a_time(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.take()
    with pytest.raises(FolderInUseError, match="BURSAR_RUN_DIR"):
        second.take()
    first.leave()
    second.take()
    second.leave()


def test_a_start_that_is_refused_leaves_the_running_systems_file_alone(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.take()
    first.say_ready({"gateway": "here"})
    with pytest.raises(FolderInUseError):
        second.take()
    second.leave()

    assert first.ready_file.exists()
    first.leave()
    assert not first.ready_file.exists()


def test_of_two_that_come_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path / "run") for _ in range(8)]
    barrier, taken = threading.Barrier(len(folders)), []

    def take(folder: RunFolder) -> None:
        barrier.wait()
        try:
            folder.take()
        except FolderInUseError:
            return
        taken.append(folder)

    threads = [threading.Thread(target=take, args=[folder]) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    taken[0].leave()


def test_ready_is_said_privately_and_only_while_the_folder_is_ours(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text("left over by a kill -9")
    folder = RunFolder(tmp_path)
    folder.take()
    assert not folder.ready_file.exists()
    folder.say_ready({"gateway": "http://127.0.0.1:8000"})
    assert json.loads(folder.ready_file.read_text()) == {"gateway": "http://127.0.0.1:8000"}
    assert folder.ready_file.stat().st_mode & 0o777 == 0o600
    folder.leave()
    assert not folder.ready_file.exists()


def test_the_demo_keys_outlive_a_stop(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.take()
    assert folder.known_keys() == {}
    folder.keep_keys({"support-copilot-prod": "bsr_…"})
    folder.leave()
    assert RunFolder(tmp_path).known_keys() == {"support-copilot-prod": "bsr_…"}
    assert (tmp_path / "demo_keys.json").stat().st_mode & 0o777 == 0o600


def test_the_process_id_of_somebody_else_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "supervisord.pid").write_text("1\n")
    folder = RunFolder(tmp_path)
    folder.take()
    folder.leave()
