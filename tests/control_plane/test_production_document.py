"""docs/production.md, its commands run as they stand, with a database and a Redis of the tests."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Final

import httpx
import pytest

from stack.ports import free_ports
from stack.programs import REPOSITORY, script
from tests.control_plane.cast import environment
from tests.e2e.system import eventually

DOCUMENT: Final = (REPOSITORY / "docs" / "production.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, flags=re.DOTALL | re.MULTILINE)


class Machine:
    """Where the document's paths are those of a folder, and its addresses this machine's."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports().control_plane
        self.folder = folder
        [lines] = blocks("ini")
        given = environment(BURSAR_BIND=f"127.0.0.1:{self.port}")
        theirs = dict(re.findall(r"^(\w+)=(.*)$", lines, flags=re.MULTILINE))
        theirs |= {name: given[name] for name in theirs if name in given} | {"BURSAR_TRUSTED_PROXIES": "127.0.0.1"}
        theirs["BURSAR_STATIC_ROOT"] = str(folder / "static")
        (folder / "control-plane.env").write_text(
            "".join(f"{name}={shlex.quote(value)}\n" for name, value in theirs.items())
        )
        self.settings = theirs

    def here(self, command: str) -> str:
        at_home = {
            "/etc/bursar/control-plane.env": str(self.folder / "control-plane.env"),
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "python manage.py": f"{script('python')[0]} manage.py",
            "gunicorn --config": f"exec {script('gunicorn')[0]} --config",
        }
        for theirs, ours in at_home.items():
            command = command.replace(theirs, ours)
        return command

    def start(self, command: str) -> subprocess.Popen[str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", self.here(command)],
            cwd=REPOSITORY,
            env=keep | self.settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        process = self.start(command)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said


@pytest.fixture
def machine(transactional_db: None, redis_address: str, tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_control_plane_starts_as_the_document_says(machine: Machine) -> None:
    prepare, serve, health = blocks("sh")

    assert "no issues" in machine.run(prepare)
    server = machine.start(serve)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{machine.port}",
            headers={"host": "bursar.example.com", "x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "https"},
        ) as browser:
            eventually(lambda: _answers(browser), within_s=60, what="gunicorn answers")
            page = browser.get("/admin/login/?secret=in-the-query", headers={"x-request-id": "named-by-proxy"})
            [style] = set(re.findall(r'href="(/static/unfold/css/styles\.[0-9a-f]{12}\.css)"', page.text))
            assert browser.get(style).headers["cache-control"] == "max-age=315360000, public, immutable"
            plain = browser.get("/admin/login/", headers={"x-forwarded-proto": "http"})
        assert '"status":"ok"' in machine.run(health)
    finally:
        server.send_signal(signal.SIGTERM)
        said, _ = server.communicate()

    assert (page.status_code, plain.status_code) == (200, 301)
    assert list(page.cookies) == ["bursar_csrf"]
    assert "Secure" in page.headers["set-cookie"]
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    assert re.search(r'^198\.51\.100\.1 "GET /admin/login/" 200 \d+ [\d.]+s named-by-proxy$', said, re.MULTILINE)
    assert "in-the-query" not in said


def _answers(browser: httpx.Client) -> bool:
    try:
        return browser.get("/api/v1/health/live").status_code == 200
    except httpx.TransportError:
        return False
