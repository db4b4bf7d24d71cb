"""People at their browsers: each logs in at the admin, and whatever a page complains of is kept."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final, Literal, Self

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from stack.programs import REPOSITORY

SCREENSHOTS: Final = REPOSITORY / ".run" / "screenshots"
WIDE: Final = 1280
NARROW: Final = 390


class Desk:
    """A place to sit down at. All people of the demo's company have the same password."""

    def __init__(self, control_plane: str, password: str, browser: Browser) -> None:
        self._control_plane = control_plane
        self._password = password
        self._browser = browser
        self._open = ExitStack()
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()

    def sit_down(
        self,
        username: str,
        *,
        password: str | None = None,
        width: int = WIDE,
        colours: Literal["light", "dark"] = "light",
    ) -> Page:
        """Log in; return the first page, at which the person arrives."""
        context = self._browser.new_context(
            base_url=self._control_plane, viewport={"width": width, "height": 900}, color_scheme=colours
        )
        self._open.callback(context.close)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("request", self._see)
        page.goto("/admin/")
        page.locator("input[type=password]").fill(password or self._password)
        page.locator("input[autocomplete=username], input[name=login]").first.fill(username)
        page.locator("button[type=submit]").first.click()
        page.wait_for_url("**/admin/")
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        """Errors, and what the content security policy forbids, which Chromium tells as errors too."""
        if message.type == "error":
            self.complaints.append(f"{message.location}: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith((self._control_plane, "data:", "blob:")):
            self.complaints.append(f"asks a stranger: {request.url}")


def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def is_wider_than_its_window(page: Page) -> Any:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
