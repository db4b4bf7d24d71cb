"""What would this limit have refused? A limit in shadow mode lets every call pass, and the report says what it saw."""

from __future__ import annotations

from typing import Any

from tests.e2e.system import System, eventually


def test_the_report_names_the_calls_that_a_shadow_limit_would_have_refused_at_the_providers_price(
    system: System,
) -> None:
    team = system.new_team("shadowed")
    limit = system.new_limit(team, "requests", 2, window_seconds=3600)
    system.change(f"/api/v1/limits/{limit['id']}", shadow=True)

    for _ in range(5):
        assert team.post(team.request(max_tokens=5)).status_code == 200
    refused_nusd = sum(call["amount_nusd"] for call in team.books()[2:])

    def report() -> list[dict[str, Any]] | None:
        rows = system.api.get("/api/v1/shadow-refusals").raise_for_status().json()
        found = [row for row in rows if row["team"] == team.slug]
        return found if found and found[0]["calls"] == 3 else None

    assert eventually(report, within_s=20, what="the calls in the ledger") == [
        {
            "rule": "team limit of requests per hour",
            "team": team.slug,
            "calls": 3,
            "amount_nusd": refused_nusd,
            "unpriced": 0,
        }
    ]
    shadowed = system.api.get(f"/api/v1/events?team={team.slug}&shadow_refused=true").raise_for_status().json()
    assert len(shadowed["results"]) == 3
