"""docs/month-end.md, its commands run as they stand on a system with the demo's teams."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.documents import CONTROL_PLANE, follow, shell_blocks
from tests.e2e.system import System


def answers_to(system: System) -> list[dict[str, Any]]:
    """What all shell blocks of the document, one after the other in one shell, are answered."""
    at_home = {CONTROL_PLANE: system.ready["control_plane"]}
    environment = {**os.environ, "BURSAR_TOKEN": system.ready["api_token"]}
    printed = follow("\n".join(shell_blocks("month-end.md")), at_home, environment)
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.timeout(240)
def test_who_follows_the_document_has_what_it_says(demo_system: System) -> None:
    budget, extension, each, for_alice, revoked, listed, *answers = answers_to(demo_system)
    planner, asked, approved, decided, forecasts = answers

    def state_of(row: dict[str, Any]) -> dict[str, Any]:
        [state] = demo_system.api.get(f"/api/v1/budgets/{row['id']}").raise_for_status().json()["states"]
        found: dict[str, Any] = state
        return found

    assert (budget["carry_over_max"], budget["state"]["carried_over"]) == (100 * 10**9, 0)
    assert (extension["amount_usd"], extension["reason"]) == ("50.00", "The launch on Thursday")
    assert extension["created_by"] == revoked["revoked_by"]
    assert listed["results"] == [revoked]
    assert (asked["asked_by"], asked["amount_usd"], asked["state"]) == (planner["username"], "80.00", "waiting")
    assert (decided, decided["state"], decided["extension"]["amount_usd"]) == (approved, "approved", "60.00")
    assert decided["extension"]["expires_at"] == asked["expires_at"]
    assert state_of(budget)["cap"] == 460 * 10**9
    assert (for_alice["subject"], state_of(each)["cap"]) == ("alice", 7_500_000_000)
    assert forecasts["results"] == []
