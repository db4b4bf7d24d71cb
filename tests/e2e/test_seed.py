"""The demo's data: it can be put in again and again, and its keys work."""

from __future__ import annotations

from typing import Any

from demo.seed import seed
from tests.e2e.system import System


def _rows(system: System, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = system.api.get(f"/api/v1/{kind}?page_size=1000").raise_for_status().json()["results"]
    return rows


def _seed(system: System, known_keys: dict[str, str]) -> dict[str, str]:
    return seed(
        control_plane_url=system.ready["control_plane"],
        api_token=system.ready["api_token"],
        provider_url=system.provider,
        known_keys=known_keys,
    )


def test_seeding_again_changes_nothing(system: System) -> None:
    kinds = ("providers", "models", "deployments", "teams", "keys", "limits")
    before = {kind: _rows(system, kind) for kind in kinds}
    assert _seed(system, system.ready["keys"]) == system.ready["keys"]
    assert {kind: _rows(system, kind) for kind in kinds} == before


def test_each_tier_has_a_team_and_each_team_a_hard_monthly_budget(system: System) -> None:
    teams = {row["slug"]: row["tier"] for row in _rows(system, "teams")}
    assert {"customer-support": "critical", "search": "normal", "marketing-experiments": "experimental"}.items() <= (
        teams.items()
    )
    budgets = [
        row for row in _rows(system, "budgets") if row["subject"] in ("customer-support", "marketing-experiments")
    ]
    assert {(row["period"], row["hard"]) for row in budgets} == {("month", True)}


def test_a_key_that_nobody_knows_any_more_gives_its_name_to_a_new_one(system: System) -> None:
    known = dict(system.ready["keys"])
    lost = known.pop("search-eval-nightly")
    keys = _seed(system, known)
    system.ready["keys"] = keys
    assert keys.pop("search-eval-nightly") != lost
    assert keys == known
    [row] = system.api.get("/api/v1/keys?team=search&name=search-eval-nightly").json()["results"]
    assert row["active"]
