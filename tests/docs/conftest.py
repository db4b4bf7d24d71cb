"""The system of the demo's teams that the documents for people who administer it are followed on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.system import Stack
from tests.e2e.system import System


@pytest.fixture(scope="session")
def demo_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all of them, since each needs rows of its own only."""
    folder = tmp_path_factory.mktemp("system")
    with Stack(folder, settings={"BURSAR_REDIS_TIMEOUT_MS": "2000"}) as stack, System(stack.ready) as system:
        yield system


# Before xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all tests of one system run in one worker, so that it is started once."""
    for item in items:
        if "demo_system" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("documents"))
