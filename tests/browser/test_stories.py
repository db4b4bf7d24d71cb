"""What people do in the admin, and what the gateway answers to calls from then on."""

from __future__ import annotations

import re
import uuid
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import Desk, keep
from tests.e2e.system import System, Team

pytestmark = pytest.mark.browser

_PASSWORD: Final = "correct horse battery staple"
_ASKED_USD: Final = "5"
_LITTLE_USD: Final = "0.000001"


def person_of(company: System, team: Team, role: str) -> str:
    """Somebody new with a role in a team."""
    name = f"{role}-{uuid.uuid4().hex[:8]}"
    company.create("people", username=name, role=role, team=team.slug, password=_PASSWORD)
    return name


def open_budget(page: Page, team: Team) -> None:
    page.goto("/admin/budgets/budget/")
    page.get_by_role("link", name=team.slug, exact=True).first.click()
    expect(page.get_by_label("Amount")).to_be_visible()


def set_amount(page: Page, team: Team, usd: str) -> None:
    open_budget(page, team)
    page.get_by_label("Amount").fill(usd)
    page.get_by_role("button", name=re.compile("^Save$")).first.click()
    expect(page.get_by_text("changed successfully").first).to_be_visible()


def answers(team: Team, status: int, *, key: str | None = None) -> None:
    """The team's next call is answered so."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = team.post(team.request(), **headers)
    assert answer.status_code == status, answer.text


def test_an_owner_lowers_a_budget_and_the_next_call_is_refused_until_it_is_back(company: System, desk: Desk) -> None:
    team = company.new_team("browser-budget")
    owner = desk.sit_down(person_of(company, team, "owner"), password=_PASSWORD)
    answers(team, 200)

    set_amount(owner, team, _LITTLE_USD)
    answers(team, 429)

    set_amount(owner, team, "10")
    answers(team, 200)


def test_a_team_asks_for_more_and_gets_it_from_whoever_is_above(company: System, desk: Desk) -> None:
    team = company.new_team("browser-more", cap_nusd=1)
    answers(team, 429)

    owner = desk.sit_down(person_of(company, team, "owner"), password=_PASSWORD)
    open_budget(owner, team)
    owner.get_by_role("link", name="Ask for more").click()
    owner.get_by_label("Amount").fill(_ASKED_USD)
    owner.get_by_label("Reason").fill("The launch brings twice the questions")
    keep(owner, "ask-for-more")
    owner.get_by_role("button", name=re.compile("^Save$")).first.click()
    expect(owner.get_by_text("added successfully").first).to_be_visible()
    answers(team, 429)

    admin = desk.sit_down("helen.marsh")
    waiting = admin.get_by_role("row").filter(has_text=team.slug)
    waiting.get_by_role("link").first.click()
    admin.get_by_role("link", name="Approve").click()
    keep(admin, "approve")
    admin.get_by_role("button", name="Approve").click()
    expect(admin.get_by_text("is approved").first).to_be_visible()

    answers(team, 200)


def test_an_owner_issues_a_key_that_is_shown_once_and_revokes_it(company: System, desk: Desk) -> None:
    team = company.new_team("browser-key")
    owner = desk.sit_down(person_of(company, team, "owner"), password=_PASSWORD)

    owner.goto("/admin/keys/virtualkey/add/")
    choose_team(owner, team)
    owner.locator("input[name=name]").fill("checkout")
    owner.get_by_role("button", name=re.compile("^Save$")).first.click()
    key = owner.locator("#secret").inner_text()
    keep(owner, "new-key")
    answers(team, 200, key=key)

    owner.goto("/admin/keys/virtualkey/")
    owner.get_by_role("link", name="checkout").first.click()
    assert key not in owner.content()
    owner.get_by_role("link", name="Revoke").click()
    owner.get_by_role("button", name=re.compile("Revoke|Submit|Confirm")).last.click()
    expect(owner.get_by_text("checkout is revoked").first).to_be_visible()

    answers(team, 401, key=key)


def test_a_key_is_issued_with_the_keyboard_alone(company: System, desk: Desk) -> None:
    team = company.new_team("browser-keyboard")
    owner = desk.sit_down(person_of(company, team, "owner"), password=_PASSWORD)
    owner.goto(f"/admin/keys/virtualkey/add/?team={number_of(owner, team)}")

    tab_to(owner, "name")
    owner.keyboard.type("by keyboard")
    owner.keyboard.press("Enter")

    answers(team, 200, key=owner.locator("#secret").inner_text())


def choose_team(page: Page, team: Team) -> None:
    """In the list that offers names as they are typed."""
    page.locator(".field-team .select2-selection").click()
    page.locator(".select2-dropdown .select2-search__field").fill(team.slug)
    page.locator(".select2-results__option").filter(has_text=team.slug).first.click()


def number_of(page: Page, team: Team) -> str:
    """The team's number, from the address of its page."""
    page.goto(f"/admin/teams/team/?q={team.slug}")
    address = page.get_by_role("link", name=team.slug).first.get_attribute("href") or ""
    return address.split("/team/")[1].split("/")[0]


def tab_to(page: Page, name: str, *, most: int = 80) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == name:
            return
    raise AssertionError(f"nobody comes to the field {name} by the keyboard")
