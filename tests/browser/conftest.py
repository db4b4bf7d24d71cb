"""The demo's company in a whole system of its own, and its people at their browsers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from stack.system import Stack
from tests.browser.chromium import chromium
from tests.browser.desk import Desk
from tests.e2e.conftest import SETTINGS
from tests.e2e.system import System


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The company that `make run` shows, with the five weeks behind it."""
    stack = Stack(tmp_path_factory.mktemp("company"), settings=SETTINGS, company=True)
    with stack, System(stack.ready) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers and root do not have; it opens nothing but our own pages.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def desk(company: System, browser: Browser) -> Iterator[Desk]:
    """Where people sit down; at its end, none of them has seen a page that complained or asked a stranger."""
    with Desk(company.ready["control_plane"], company.ready["admin"]["password"], browser) as desk:
        yield desk
        assert desk.complaints == []
