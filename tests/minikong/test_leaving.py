"""A client that leaves while a plugin still decides: seen at once where nginx is told to check, else after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.minikong.gateway import Gateway, gateway_environment, python, running_gateway, wait_until
from tests.minikong.upstream import Upstream

_DECIDE_UNTIL_TOLD = """
import pathlib, time
open(config["word"] + ".begun", "w").close()
while not pathlib.Path(config["word"]).exists():
    kong.ctx.shared.get("beat")
    time.sleep(0.02)
kong.ctx.shared.set("decided", True)
"""
_SAY = """
kong.log.notice(f"left {kong.response.get_status()}, decided: {kong.ctx.shared.get('decided')}")
"""


@pytest.fixture(scope="module")
def checking(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    environment = gateway_environment(tmp_path_factory.mktemp("kong"), KONG_NGINX_PROXY_LUA_CHECK_CLIENT_ABORT="on")
    with running_gateway(environment, upstream.port) as gateway:
        yield gateway


def deciding(until: Path) -> dict[str, Any]:
    """A plugin that decides until a file is there."""
    return python("first", access=_DECIDE_UNTIL_TOLD, log=_SAY, word=str(until))


def leave_while_it_decides(gateway: Gateway, until: Path) -> int:
    """Returns how many lines were said before."""
    gateway.serve(deciding(until))
    said = gateway.said()
    with gateway.call("/echo", method="POST", body=b"hello"):
        wait_until(Path(f"{until}.begun").exists)
    return said


def test_where_nginx_checks_the_request_ends_at_once(checking: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    before = len(upstream.received)

    said = leave_while_it_decides(checking, tmp_path / "decide")

    checking.process.wait_for_line("left 499, decided: None", said)
    (tmp_path / "decide").touch()
    assert len(upstream.received) == before


def test_where_nginx_does_not_check_the_client_is_missed_after_the_decision(gateway: Gateway, tmp_path: Path) -> None:
    said = leave_while_it_decides(gateway, tmp_path / "decide")
    (tmp_path / "decide").touch()
    gateway.process.wait_for_line("left 499, decided: True", said)


def test_where_nginx_checks_a_client_that_stays_is_answered(checking: Gateway, tmp_path: Path) -> None:
    (tmp_path / "decide").touch()
    checking.serve(deciding(tmp_path / "decide"))

    assert checking.get("/echo", method="POST", body=b"hello").status == 200
