"""The life of a plugin server's process: start, take over, end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pluginserver.conftest import COMMAND, TRIAL, Running, running, wait_for_the_end_of
from tests.pluginserver.kong import RemoteError


def dumped(plugin: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, plugin, "--dump"], env=environment, capture_output=True, text=True, check=False)


def test_a_dump_is_kongs_description_of_the_plugin_and_nothing_else() -> None:
    result = dumped(TRIAL)

    assert json.loads(result.stdout) == [
        {
            "Name": "trial",
            "Phases": ["log", "access"],
            "Priority": 7,
            "Version": "1.2.3",
            "Schema": {
                "name": "trial",
                "fields": [
                    {
                        "config": {
                            "type": "record",
                            "fields": [
                                {"behaviour": {"type": "string"}},
                                {"protocol": {"type": "string"}},
                                {"mode": {"type": "string"}},
                            ],
                        }
                    }
                ],
            },
        }
    ]


def test_an_unknown_plugin_is_named(tmp_path: Path) -> None:
    result = dumped("llm-nothing")

    assert result.returncode != 0
    assert "llm-nothing.py" in result.stderr


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    settings = tmp_path / "edge.env"
    settings.write_text("# for the tests\n\nBURSAR_TRIAL=a=b c\n")

    with running(tmp_path, "--env-file", str(settings)) as server:
        worker = server.worker()
        assert worker.run(worker.start_instance(behaviour="tell_setting")) == [
            ("kong.ctx.shared.set", "setting", "a=b c")
        ]


def test_a_broken_settings_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    settings = tmp_path / "edge.env"
    settings.write_text("BURSAR_TRIAL=1\nmy-secret\n")

    result = subprocess.run(
        [COMMAND, TRIAL, "-p", str(tmp_path), "--env-file", str(settings)], capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    assert "line 2" in result.stderr
    assert "my-secret" not in result.stderr


def test_no_id_is_used_again_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        worker = first.worker()
        old_instance = worker.start_instance()
        old_event, _ = worker.begin(old_instance)

    with running(tmp_path) as second:
        worker = second.worker()
        worker.begin(worker.start_instance())
        with pytest.raises(RemoteError, match="no plugin instance"):
            worker.begin(old_instance)
        with pytest.raises(RemoteError, match="not found"):
            worker.step(old_event)


def test_a_socket_left_by_a_killed_server_is_taken_over(tmp_path: Path) -> None:
    first = Running(tmp_path)
    first.wait_until_it_listens()
    first.process.kill()
    first.process.communicate()
    assert first.path.is_socket()

    with running(tmp_path) as second:
        assert second.worker().call("plugin.GetStatus")["Pid"] == second.process.pid
    assert not second.path.exists()


def test_a_successor_keeps_the_socket_when_its_predecessor_ends(tmp_path: Path) -> None:
    with running(tmp_path) as second:
        first, second = second, Running(tmp_path)
        second.wait_until_it_listens()
        first.stop()
        try:
            assert second.worker().call("plugin.GetStatus")["Pid"] == second.process.pid
        finally:
            second.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_ends_cleanly_though_a_request_is_open(tmp_path: Path, number: signal.Signals) -> None:
    server = Running(tmp_path)
    server.wait_until_it_listens()
    worker = server.worker()
    worker.begin(worker.start_instance())

    written = server.stop(number)

    assert server.process.returncode == 0
    assert "Traceback" not in written
    assert not server.path.exists()


def test_a_handler_may_end_the_process(server: Running) -> None:
    worker = server.worker()
    event_id, _ = worker.begin(worker.start_instance(behaviour="leave"))

    with pytest.raises(ConnectionError):
        worker.step(event_id)

    assert server.process.wait(timeout=20) == 3


def test_a_server_ends_when_the_kong_that_started_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "trial.socket"
    script = f"{COMMAND} {TRIAL} -p {tmp_path} & echo $!; wait"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        process_id = int(shell.stdout.readline())
        try:
            while not path.exists():
                os.kill(process_id, 0)
            shell.kill()
            wait_for_the_end_of(process_id)
        finally:
            _kill(process_id)

    assert not path.exists()


def _kill(process_id: int) -> None:
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_the_console_script_is_the_launcher() -> None:
    result = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True)

    assert "--socket-mode" in result.stdout
    assert Path(COMMAND).parent == Path(sys.executable).parent
