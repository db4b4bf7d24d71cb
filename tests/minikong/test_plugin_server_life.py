"""Plugin servers as processes: dead ones, respawned ones, what they are given, and what becomes of them at the end."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.minikong.gateway import (
    Gateway,
    Process,
    gateway_environment,
    plugin_command,
    python,
    running_gateway,
    wait_until,
)
from tests.minikong.upstream import Upstream

_VARIABLE = "KONG_PLUGINSERVER_PYTHON_FIRST_START_CMD"


@pytest.fixture(scope="module")
def unmanaged(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[tuple[Gateway, Path]]:
    """A gateway one of whose plugin servers is the test's to start."""
    prefix = tmp_path_factory.mktemp("kong")
    environment = gateway_environment(prefix)
    del environment[_VARIABLE]
    with running_gateway(environment, upstream.port) as gateway:
        yield gateway, prefix


def start_server(gateway: Gateway, prefix: Path) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(shlex.split(f"{plugin_command('python-first')} -p {prefix} --no-lua-style"))
    wait_until(lambda: bool(gateway.status_of("python-first")["answers"]))
    return server


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()


def test_a_dead_server_lets_requests_pass_until_it_is_back(unmanaged: tuple[Gateway, Path], upstream: Upstream) -> None:
    gateway, prefix = unmanaged
    server = start_server(gateway, prefix)
    gateway.serve(python("first", access="kong.service.request.set_header('x-seen', 'yes')"))
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("x-seen") == "yes"
    kill(server)
    for _ in range(3):
        assert gateway.get("/echo").status == 200
        assert upstream.last.header("x-seen") is None
    server = start_server(gateway, prefix)
    said = gateway.said()
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("x-seen") == "yes"
    gateway.process.wait_for_line("no plugin instance", said)
    kill(server)


def test_a_dead_server_cannot_start_an_instance_and_the_answer_is_500(
    unmanaged: tuple[Gateway, Path], upstream: Upstream
) -> None:
    gateway, prefix = unmanaged
    before = len(upstream.received)
    gateway.serve(python("first", access="kong.request.get_method()"))
    answer = gateway.get("/echo")
    assert (answer.status, answer.json["message"]) == (500, "An unexpected error occurred")
    assert len(upstream.received) == before
    server = start_server(gateway, prefix)
    assert gateway.get("/echo").status == 200
    kill(server)


def test_a_stopped_server_holds_a_request_for_the_timeout_and_lets_it_pass(
    unmanaged: tuple[Gateway, Path], upstream: Upstream
) -> None:
    gateway, prefix = unmanaged
    server = start_server(gateway, prefix)
    gateway.serve(python("first", access="kong.service.request.set_header('x-seen', 'yes')"))
    assert gateway.get("/echo").status == 200
    server.send_signal(signal.SIGSTOP)
    said = gateway.said()
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("x-seen") is None
    gateway.process.wait_for_line("no data", said)
    assert gateway.status_of("python-first")["answers"] is False
    kill(server)


def test_minikong_starts_a_dead_server_again(gateway: Gateway) -> None:
    pid = gateway.status_of("python-first")["pid"]
    os.kill(pid, signal.SIGKILL)
    said = gateway.said()
    gateway.wait_until_answers("python-first", other_than=pid)
    gateway.process.wait_for_line("'python-first' terminated", said)


def test_a_server_gets_only_the_environment_that_nginx_would_leave_it(tmp_path: Path, upstream: Upstream) -> None:
    environment = gateway_environment(
        tmp_path, KONG_NGINX_MAIN_ENV="GREETING; env ANSWER=42", GREETING="hi", SECRET="s", TZ="UTC"
    )
    with running_gateway(environment, upstream.port) as gateway:
        gateway.serve(python("first", access="kong.response.exit(200, environ)"))
        seen = gateway.get("/echo").json
    assert {name: seen.get(name) for name in ("GREETING", "ANSWER", "TZ")} == {
        "GREETING": "hi",
        "ANSWER": "42",
        "TZ": "UTC",
    }
    assert not {"SECRET", "KONG_PREFIX", "PATH"} & seen.keys()


def test_a_polite_end_stops_the_servers_and_finishes_open_streams(tmp_path: Path, upstream: Upstream) -> None:
    with running_gateway(gateway_environment(tmp_path), upstream.port) as gateway:
        gateway.serve()
        pids = [gateway.status_of(server)["pid"] for server in ("python-first", "python-last")]
        with gateway.call("/stream") as call:
            stream = upstream.next_stream()
            stream.send(b"begun, ")
            head = call.head()
            assert head.read(7) == b"begun, "
            os.kill(gateway.process.pid, signal.SIGTERM)
            stream.send(b"and finished")
            stream.finish()
            assert head.read() == b"and finished"
        assert gateway.process.wait() == 0
    assert not any(map(is_alive, pids))


def test_a_killed_minikong_is_followed_by_one_that_takes_over_its_sockets(tmp_path: Path, upstream: Upstream) -> None:
    environment = gateway_environment(tmp_path)
    with running_gateway(environment, upstream.port) as gateway:
        orphans = [gateway.status_of(server)["pid"] for server in ("python-first", "python-last")]
        gateway.process.end(signal.SIGKILL)
    try:
        with running_gateway(environment, upstream.port) as gateway:
            gateway.serve(python("first", access="kong.response.exit(201)"))
            assert gateway.get("/echo").status == 201
            assert gateway.status_of("python-first")["pid"] not in orphans
    finally:
        # The stock server does not watch its parent where that is not process 1.
        for pid in filter(is_alive, orphans):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"KONG_DATABASE": "postgres"}, "KONG_DATABASE must be off"),
        ({"KONG_PLUGINS": "missing"}, "missing plugin is enabled but not installed"),
        ({"KONG_PLUGINSERVER_PYTHON_FIRST_QUERY_CMD": "echo"}, "plugin server python-first: failed decoding"),
        ({"KONG_DECLARATIVE_CONFIG": "/nowhere.yml"}, "/nowhere.yml: No such file or directory"),
        ({"KONG_TRUSTED_IPS": "0.0.0.0/0"}, "does not know KONG_TRUSTED_IPS"),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_at_once(
    tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    process = Process(gateway_environment(tmp_path, **changes))
    assert process.wait() == 1
    assert complaint in process.lines[-1]


def test_a_port_in_use_is_named(tmp_path: Path, gateway: Gateway) -> None:
    process = Process(gateway_environment(tmp_path, KONG_PROXY_LISTEN=f"127.0.0.1:{gateway.proxy_port}"))
    assert process.wait() == 1
    assert f"KONG_PROXY_LISTEN: 127.0.0.1:{gateway.proxy_port}: Address already in use" in process.lines[-1]
