"""docs/budgets-and-limits.md, its commands run as they stand on a system with the demo's teams."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest

from tests.documents import CONTROL_PLANE, follow, shell_blocks
from tests.e2e.system import System, eventually


class Reader:
    """Somebody who has followed the document from its first line to its last, and the answers that they got."""

    def __init__(self, system: System) -> None:
        self.system = system
        at_home = {CONTROL_PLANE: system.ready["control_plane"]}
        environment = {**os.environ, "BURSAR_TOKEN": system.ready["api_token"]}
        printed = follow("\n".join(shell_blocks("budgets-and-limits.md")), at_home, environment)
        self.answers = [json.loads(line) for line in printed.splitlines()]

    def answer(self, name: str) -> dict[str, Any]:
        """The last answer about the row with this name."""
        found: dict[str, Any] = [each for each in self.answers if each["name"] == name][-1]
        return found

    def call(self, key: str, model: str, **headers: str) -> httpx.Response:
        body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "Hello there"}]}
        bearer = {"authorization": f"Bearer {key}"} | headers
        return self.system.client.post(f"{self.system.gateway}/v1/chat/completions", json=body, headers=bearer)


@pytest.fixture(scope="module")
def reader(demo_system: System) -> Reader:
    return Reader(demo_system)


@pytest.mark.timeout(240)
def test_who_follows_the_document_has_what_it_says(reader: Reader) -> None:
    budget = reader.answer("Search, daily")
    assert (budget["amount_usd"], budget["degrade_at_percent"]) == ("30.00", 80)
    assert budget["tier_shares_percent"] == {"experimental": 20}
    assert budget["state"]["cap"] == 30 * 10**9
    assert reader.answer("Search, burst")["queue_seconds"] == 30
    assert reader.answer("Simulator, tokens a minute")["tier_shares_percent"] == {"experimental": 20, "normal": 50}
    assert reader.answer("search-lab")["tier"] == "experimental"


@pytest.mark.timeout(240)
def test_a_budget_that_is_used_up_by_80_percent_degrades(reader: Reader) -> None:
    key, path = reader.system.ready["keys"]["search-ranking-prod"], f"budgets/{reader.answer('Search, daily')['id']}"
    assert "x-bursar-degraded-from" not in reader.call(key, "gpt-4o").raise_for_status().headers

    def spent_nusd() -> int:
        state: dict[str, int] = reader.system.api.get(f"/api/v1/{path}").raise_for_status().json()["state"]
        return 0 if state["held"] else state["spent"]

    spent = eventually(spent_nusd, within_s=20, what="the call is posted")
    reader.system.change(f"/api/v1/{path}", amount=spent * 100 // 80)

    headers = reader.call(key, "gpt-4o").raise_for_status().headers
    assert (headers["x-bursar-degraded-from"], headers["x-bursar-model"]) == ("gpt-4o", "simulator/gpt-4o-mini")


@pytest.mark.timeout(240)
def test_each_user_has_the_cap_to_themselves_from_their_first_call_on(reader: Reader) -> None:
    key = reader.answer("support-chat")["key"]
    reader.call(key, "gpt-4o-mini", **{"x-user-id": "alice"}).raise_for_status()

    def remaining_nusd(user: str) -> int:
        headers = {"authorization": f"Bearer {key}", "x-user-id": user}
        told = reader.system.client.get(f"{reader.system.gateway}/bursar/v1/limits", headers=headers).json()
        [budget] = [each for each in told["budgets"] if each["scope"] == "user"]
        assert budget["amount"] == 500_000_000
        remaining: int = budget["remaining"]
        return remaining

    assert remaining_nusd("alice") < 500_000_000
    assert remaining_nusd("bob") == 500_000_000
