"""The systems that the end-to-end tests run on, on free ports, with whatever gateway the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from stack.processes import descendants_of, process_ids
from stack.system import Stack
from tests.e2e.system import System

# A test machine may be slower than any Redis time-out that suits production.
SETTINGS: Final = {"BURSAR_REDIS_TIMEOUT_MS": "2000", "BURSAR_DEMO_FIRST_TOKEN_MS": "", "BURSAR_DEMO_TOKEN_MS": ""}
LEASE_OF_FIVE_SECONDS: Final = {"BURSAR_DEADLINE_MS": "3000", "BURSAR_LEASE_GRACE_MS": "2000"}


@dataclass(frozen=True)
class RunningSystem:
    """A system with its processes, for tests that kill them."""

    stack: Stack
    system: System
    run: Path

    def plugin_server_ids(self, name: str) -> list[int]:
        return process_ids("bursar-pluginserver", name, str(self.run / "gateway" / "edge.env"))

    def gateway_ids(self) -> list[int]:
        """The gateway's own processes, without the plugin servers that it has started."""
        supervised = self.stack.process_id("gateway")
        if supervised is None:
            return []
        plugin_servers = process_ids("bursar-pluginserver", str(self.run / "gateway" / "edge.env"))
        return [each for each in (supervised, *descendants_of(supervised)) if each not in plugin_servers]


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system that the tests of a session share; each makes teams of its own in it."""
    with Stack(tmp_path_factory.mktemp("system"), settings=SETTINGS) as stack, System(stack.ready) as running:
        yield running


@pytest.fixture
def short_lease_system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system of the test's own, to be broken; its holds expire after five seconds."""
    with Stack(tmp_path, settings=SETTINGS | LEASE_OF_FIVE_SECONDS) as stack, System(stack.ready) as running:
        yield RunningSystem(stack, running, tmp_path)


@pytest.fixture
def journal_system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system of the test's own, to be broken, whose gateway soon notices that Redis is away."""
    settings = SETTINGS | {"BURSAR_REDIS_TIMEOUT_MS": "500"}
    with Stack(tmp_path, settings=settings) as stack, System(stack.ready) as running:
        yield RunningSystem(stack, running, tmp_path)


# Before xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all tests of one system run in one worker, so that it is started once."""
    for item in items:
        if "system" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("system"))
