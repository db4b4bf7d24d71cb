"""Each role's home page: it opens, is their own, fits a phone, and a picture of it is kept."""

from __future__ import annotations

from typing import Final

import pytest

from tests.browser.desk import NARROW, WIDE, Desk, is_wider_than_its_window, keep

pytestmark = pytest.mark.browser

# Of the demo's company, each role by one of its people: what their first page says, and what it does not.
ROLES: Final = {
    "platform-admin": ("helen.marsh", "Do calls get through?", None),
    "finance": ("ines.duarte", "Over 90 %", "Do calls get through?"),
    "auditor": ("klara.simon", "Do calls get through?", None),
    "department-owner": ("leo.grant", "Refused", "Do calls get through?"),
    "team-owner": ("alice.meyer", "Refused", "Over 90 %"),
    "member": ("bob.okafor", "Refused", "Over 90 %"),
    "viewer": ("dora.kaya", "Refused", "Over 90 %"),
}


@pytest.mark.parametrize("role", ROLES)
def test_everybody_comes_to_the_page_of_their_role(desk: Desk, role: str) -> None:
    username, said, unsaid = ROLES[role]
    for colours in ("light", "dark"):
        for width in (WIDE, NARROW):
            page = desk.sit_down(username, width=width, colours="dark" if colours == "dark" else "light")
            text = page.locator("body").inner_text()
            keep(page, f"{role}-{width}-{colours}")
            assert not is_wider_than_its_window(page), f"{role} at {width}"
            assert said in text
            assert unsaid is None or unsaid not in text
