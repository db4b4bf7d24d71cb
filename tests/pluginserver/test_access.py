"""Who reaches a plugin server, and what they may ask of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.pluginserver.conftest import Running, running
from tests.pluginserver.kong import RemoteError


@pytest.mark.parametrize(
    "method",
    [
        "plugin.SetPluginDir",
        "plugin._loadPlugins",
        "plugin.Cleanup",
        "plugin.__init__",
        "kernel.Exec",
        "nonsense",
        "",
    ],
)
def test_only_kongs_own_calls_are_answered(server: Running, method: str) -> None:
    worker = server.worker()

    with pytest.raises(RemoteError, match="not a call"):
        worker.call(method, "/tmp")

    assert worker.call("plugin.GetStatus")["Pid"] == server.process.pid


@pytest.mark.parametrize("phase", ["response", "__init__", "_behaviour", "log.__call__"])
def test_only_the_plugins_phases_are_run(server: Running, phase: str) -> None:
    worker = server.worker()

    with pytest.raises(RemoteError, match="no phase"):
        worker.run(worker.start_instance(), phase)


def test_a_wrong_call_breaks_nothing_but_itself(server: Running) -> None:
    worker = server.worker()

    with pytest.raises(RemoteError):
        worker.call("plugin.HandleEvent", "not a table")
    with pytest.raises(RemoteError):
        worker.call("plugin.StartInstance", {"Name": "trial", "Config": "{"})
    with pytest.raises(RemoteError):
        worker.call("plugin.StartInstance", {"Name": "another", "Config": "{}"})

    assert worker.run(worker.start_instance())


def test_the_socket_is_for_kongs_user_alone(tmp_path: Path) -> None:
    prefix = tmp_path / "made" / "here"

    with running(prefix) as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(prefix.stat().st_mode) == 0o700


def test_the_socket_can_be_for_kongs_group_too(tmp_path: Path) -> None:
    with running(tmp_path, "--socket-mode", "660") as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
