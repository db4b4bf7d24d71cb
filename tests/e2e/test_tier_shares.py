"""Shares of tiers: an experimental key at 50 times its normal load leaves a critical key's admission untouched."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest

from tests.e2e.system import System, Team, eventually

NORMAL_LOAD: Final = 2
FLOOD: Final = 50 * NORMAL_LOAD
CRITICAL_CALLS: Final = 30
# All critical calls fit beside the experiments' share of it, and two more.
POOL: Final = 40
CONCURRENCY: Final = 16
SHARES: Final = {"experimental": 20}
MAX_TOKENS: Final = 100


@pytest.fixture
def production(system: System) -> Team:
    """A critical team, whose provider bills every token that a call may have."""
    team = system.new_team("production")
    team.behave(output_tokens="max")
    system.change(f"/api/v1/teams/{team.slug}", tier="critical")
    return team


def under_flood(team: Team, experimental_key: str) -> tuple[list[httpx.Response], Counter[int]]:
    """The answers to the critical calls, and how often which status was answered to the experimental ones.

    Half of the flood comes before the first critical call, and would have used up all that there is.
    """
    body = team.request(max_tokens=MAX_TOKENS)

    def experiment(_: int) -> int:
        return team.post(body, authorization=f"Bearer {experimental_key}").status_code

    with ThreadPoolExecutor(CONCURRENCY) as crowd:
        statuses = Counter(crowd.map(experiment, range(FLOOD // 2)))
        flood = crowd.map(experiment, range(FLOOD // 2))
        answers = [team.post(body) for _ in range(CRITICAL_CALLS)]
        statuses.update(flood)
    return answers, statuses


def assert_untouched(answers: list[httpx.Response]) -> None:
    """All were admitted, with every token that they asked for."""
    assert [answer.status_code for answer in answers] == [200] * CRITICAL_CALLS
    assert {answer.headers["x-bursar-max-tokens"] for answer in answers} == {str(MAX_TOKENS)}


def test_a_flood_of_experiments_leaves_production_its_part_of_a_pool(system: System, production: Team) -> None:
    lab = f"lab-{production.slug}"
    system.create("teams", slug=lab, name=lab, tier="experimental", models=[production.model])
    lab_key = system.create("keys", team=lab, name=lab)["key"]
    system.create("budgets", name=lab, scope="team", subject=lab, period="month", amount=10**10)
    pool: dict[str, Any] = {"scope": "organization", "provider": production.slug, "window_seconds": 3600}
    system.create("limits", name=lab, unit="requests", amount=POOL, tier_shares_percent=SHARES, **pool)

    answers, experiments = under_flood(production, lab_key)

    assert_untouched(answers)
    assert experiments == {200: POOL // 5, 429: FLOOD - POOL // 5}
    refused = production.post(production.request(), authorization=f"Bearer {lab_key}")
    assert "share of experimental keys" in refused.json()["error"]["message"]


def test_a_flood_of_experiments_leaves_production_its_part_of_the_teams_budget(
    system: System, production: Team
) -> None:
    team = production
    lab = system.create("keys", team=team.slug, name=f"{team.slug}-lab", own_tier="experimental")
    team.post(team.request(max_tokens=MAX_TOKENS)).raise_for_status()
    [first] = eventually(team.spent_in_ledger, within_s=10, what="the first call in the ledger")
    cap_nusd = first["hold_nusd"] * CRITICAL_CALLS * 3 // 2
    system.change(f"/api/v1/budgets/{team.budget_id}", amount=cap_nusd, tier_shares_percent=SHARES)

    answers, experiments = under_flood(team, lab["key"])

    assert_untouched(answers)
    assert 0 < experiments[200] < CRITICAL_CALLS
    assert experiments[200] + experiments[429] == FLOOD
    admitted = 1 + CRITICAL_CALLS + experiments[200]
    eventually(lambda: len(team.spent_in_ledger()) == admitted, within_s=20, what="every call in the ledger")
    experiments_nusd = sum(row["amount_nusd"] for row in team.spent_in_ledger() if row["key"] == lab["id"])
    assert cap_nusd * 15 // 100 < experiments_nusd <= cap_nusd * 20 // 100
