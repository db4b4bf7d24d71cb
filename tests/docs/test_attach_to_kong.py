"""docs/attach-to-kong.md, followed to the letter on a gateway node of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from stack.ports import Ports, free_ports
from stack.readiness import eventually, http_answers
from tests.documents import REPOSITORY, follow, shell_blocks
from tests.minikong.upstream import Upstream

DOCUMENT: Final = "attach-to-kong.md"


def commands() -> list[str]:
    """The shell blocks, in order: install, describe, secrets, Kong's settings, check; observe, a call, enforce."""
    return shell_blocks(DOCUMENT)


class Node:
    """A gateway node whose root is a folder: the document's absolute paths lie below it."""

    def __init__(self, root: Path, ports: Ports) -> None:
        self.root = root
        self.provider = "http://127.0.0.1:1"
        self._ports = ports

    def at_home(self, text: str) -> str:
        """The text with this node's paths and port."""
        for path in ("/opt/bursar", "/etc/bursar", "/usr/local/kong", "/var/lib/bursar"):
            text = text.replace(path, f"{self.root}{path}")
        text = text.replace("https://api.openai.com", self.provider)
        text = text.replace("127.0.0.1:8001", f"127.0.0.1:{self._ports.kong_admin}")
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self._ports.gateway}")

    def run(self, command: str, environment: Mapping[str, str]) -> str:
        return follow(self.at_home(command), {}, {**os.environ, **environment})

    def await_plugins(self) -> None:
        """Kong answers before its plugin servers do."""
        chat = f"http://127.0.0.1:{self._ports.gateway}/v1/chat/completions"
        eventually(lambda: http_answers(chat, method="POST", status=401), "the plugins", within_s=60)

    def kong_settings(self) -> dict[str, str]:
        """What the document has put into Kong's environment, and where this node's Kong listens."""
        lines = (self.root / "etc/bursar/kong.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines) | {
            "KONG_DATABASE": "off",
            "KONG_PREFIX": f"{self.root}/usr/local/kong",
            "KONG_DECLARATIVE_CONFIG": str(REPOSITORY / "kong.yml"),
            "KONG_PROXY_LISTEN": f"127.0.0.1:{self._ports.gateway}",
            "KONG_ADMIN_LISTEN": f"127.0.0.1:{self._ports.kong_admin}",
        }


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node in a folder with a short name, since the path of a socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="bursar-") as folder:
        (Path(folder) / "usr/local/kong").mkdir(parents=True)
        (Path(folder) / "opt").mkdir()
        yield Node(Path(folder), free_ports())


@pytest.fixture(scope="module")
def offline() -> dict[str, str]:
    """Let pip take what the package depends on from here: what is tested is our package, not an index."""
    return {
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round: 0 is "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }


def lend_dependencies(node: Node) -> None:
    """Let the node's Python find what our own has installed; Kong passes it no PYTHONPATH."""
    [site_packages] = node.root.glob("opt/bursar/lib/python*/site-packages")
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.fixture(scope="module")
def kong(node: Node, offline: Mapping[str, str]) -> Iterator[Node]:
    """The node with everything installed and set, and its Kong started."""
    install, describe, secrets, settings, *_ = commands()
    node.run(install, offline)
    lend_dependencies(node)
    assert json.loads(node.run(describe, {}))
    node.run(secrets, {})
    node.run(settings, {})
    process = subprocess.Popen(
        [sys.executable, "-m", "minikong"], cwd=REPOSITORY, env=os.environ | node.kong_settings()
    )
    try:
        yield node
    finally:
        process.terminate()
        process.wait()


def test_a_node_that_follows_the_document_recognises_callers(kong: Node) -> None:
    kong.await_plugins()

    answer = json.loads(kong.run(commands()[4], {}))

    assert answer["error"]["code"] == "invalid_api_key"


def test_a_route_is_observed_first_and_governed_then(kong: Node) -> None:
    """Redis, too, is not where the document says: what is observed passes all the same."""
    kong.await_plugins()
    observe, call, enforce = commands()[5:]
    with Upstream().running() as provider:
        kong.provider = f"http://127.0.0.1:{provider.port}"
        kong.run(observe, {})

        eventually(lambda: kong.run(call, {}) == "echo", "the other plugins", within_s=60)
        assert (provider.last.target, provider.last.header("authorization")) == (
            "/v1/chat/completions",
            "Bearer sk-of-your-provider",
        )
        assert json.loads(provider.last.body)["model"] == "gpt-4o-mini"

        calls = len(provider.received)
        kong.run(enforce, {})
        assert json.loads(kong.run(call, {}))["error"]["code"] == "invalid_api_key"
        assert len(provider.received) == calls


def test_the_secrets_are_for_their_owner_only(kong: Node) -> None:
    assert (kong.root / "etc/bursar/edge.env").stat().st_mode & 0o077 == 0
