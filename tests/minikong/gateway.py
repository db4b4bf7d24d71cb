"""A minikong of the tests' own, in its own process, with two plugins of each language to be told what to do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.minikong.client import Answer, Call

HERE: Final = Path(__file__).parent
_SCRIPTED: Final = HERE / "scripted_plugin.py"
_PATIENCE_SECONDS: Final = 20
PRIORITIES: Final = {"python-first": 1000, "python-last": 500}


class Process:
    """A started minikong and what it has said."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minikong"],
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=HERE.parents[1],
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_line(self, pattern: str, start: int = 0) -> str:
        """The first line, from the `start`-th on, in which the pattern is found; waits until it is said."""

        def found() -> str | None:
            return next((line for line in self.lines[start:] if re.search(pattern, line)), None)

        with self._said:
            assert self._said.wait_for(lambda: found() or self._process.poll() is not None, _PATIENCE_SECONDS), (
                f"{pattern!r} was not said, but: {self.lines[start:]}"
            )
        line = found()
        assert line is not None, f"{pattern!r} was not said before the end: {self.lines[start:]}"
        return line

    def end(self, signal_number: int) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        status = self._process.wait(_PATIENCE_SECONDS)
        self._reader.join(_PATIENCE_SECONDS)
        return status

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stream:
            for line in stream:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()


class Gateway:
    """A minikong that serves, driven through its two ports."""

    def __init__(self, process: Process, upstream_port: int) -> None:
        self.process = process
        self._upstream_port = upstream_port
        self.proxy_port = self._port("proxy")
        self.admin_port = self._port("admin")

    def call(self, path: str, **request: Any) -> Call:
        return Call(self.proxy_port, path, **request)

    def get(self, path: str, **request: Any) -> Answer:
        return self.call(path, **request).answer()

    def admin(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        return Call(self.admin_port, path, method=method, body=body, headers=headers).answer()

    def serve(self, *plugins: Mapping[str, Any], **route: Any) -> None:
        """Serve everything from the test's upstream, with these plugins on its only route."""
        service = {"name": "upstream", "url": f"http://127.0.0.1:{self._upstream_port}", "retries": 0}
        routes = [{"name": "all", "paths": ["/"], "plugins": list(plugins), **route}]
        self.post({"_format_version": "3.0", "services": [{**service, "routes": routes}]})

    def post(self, document: Mapping[str, Any]) -> None:
        """Post a configuration that must be taken."""
        answer = self.admin("/config", method="POST", body=json.dumps(document).encode())
        assert answer.status == 201, answer.body

    def status_of(self, server: str) -> dict[str, Any]:
        """What GET /status says of a plugin server."""
        status: dict[str, Any] = self.admin("/status").json["plugin_servers"][server]
        return status

    def wait_until_answers(self, server: str, *, other_than: int | None = None) -> int:
        """Wait until a plugin server answers, in a process other than one that is known; returns its id."""

        def answers() -> bool:
            status = self.status_of(server)
            return bool(status["answers"]) and status["pid"] != other_than

        wait_until(answers)
        return int(self.status_of(server)["pid"])

    def said(self) -> int:
        """How many lines minikong has said so far."""
        return len(self.process.lines)

    def _port(self, name: str) -> int:
        return int(self.process.wait_for_line(f"{name} listens on").rpartition(":")[2])


def python(name: str, **config: str) -> dict[str, Any]:
    """A plugin in Python with a text for each phase."""
    return {"name": f"python-{name}", "config": config}


def lua(name: str, **config: str) -> dict[str, Any]:
    """A plugin in Lua with a text for each phase."""
    return {"name": f"lua-{name}", "config": config}


def plugin_command(name: str) -> str:
    """How one of the two scripted plugin servers is started."""
    return f"{sys.executable} {_SCRIPTED} {name} {PRIORITIES[name]}"


def gateway_environment(prefix: Path, **changes: str) -> dict[str, str]:
    """What minikong needs to know to run the tests' four plugins, on any free ports."""
    environment = {
        "PATH": os.environ["PATH"],
        "KONG_PREFIX": str(prefix),
        "KONG_DATABASE": "off",
        "KONG_PROXY_LISTEN": "127.0.0.1:0",
        "KONG_ADMIN_LISTEN": "127.0.0.1:0",
        "KONG_PLUGINS": "bundled,lua-first,lua-last," + ",".join(PRIORITIES),
        "KONG_LUA_PACKAGE_PATH": f"{HERE}/lua/?.lua;;",
        "KONG_PLUGINSERVER_NAMES": ",".join(PRIORITIES),
        "KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT": "2s",
        "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": "1m",
        "KONG_LOG_LEVEL": "info",
    }
    for name in PRIORITIES:
        variable = "KONG_PLUGINSERVER_" + name.upper().replace("-", "_")
        environment[f"{variable}_SOCKET"] = str(prefix / f"{name}.sock")
        environment[f"{variable}_START_CMD"] = f"{plugin_command(name)} -p {prefix} --no-lua-style"
        environment[f"{variable}_QUERY_CMD"] = f"{plugin_command(name)} --dump"
    return environment | changes


@contextlib.contextmanager
def running_gateway(environment: Mapping[str, str], upstream_port: int) -> Iterator[Gateway]:
    """A minikong that serves, and whose plugin servers answer."""
    process = Process(environment)
    try:
        gateway = Gateway(process, upstream_port)
        for name, value in environment.items():
            if name.endswith("_START_CMD") and value:
                gateway.wait_until_answers(name.split("_", 2)[2].removesuffix("_START_CMD").lower().replace("_", "-"))
        yield gateway
    finally:
        process.end(15)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Ask until it is so; the pause only spares the processor."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.02)
