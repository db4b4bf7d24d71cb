"""Keys on the edge: a rotation with a grace, its early end, revocation, and where a key may be used."""

from __future__ import annotations

from typing import Any

import httpx

from tests.e2e.system import System, Team, eventually


def status(team: Team, key: str, **headers: str) -> int:
    return team.post(team.request(max_tokens=5), authorization=f"Bearer {key}", **headers).status_code


def told(system: System, team: Team, do: str, **asked: Any) -> dict[str, Any]:
    answer: dict[str, Any] = system.api.post(f"/api/v1/keys/{team.key_id}/{do}", json=asked).raise_for_status().json()
    return answer


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_rotated_key_keeps_its_budget_and_its_former_secret_until_that_is_ended(system: System) -> None:
    team = system.new_team("rotated")
    budget = system.create("budgets", name=team.key_id, scope="key", subject=team.key_id, period="month", amount=10**9)

    def spent() -> int:
        state: dict[str, int] = system.api.get(f"/api/v1/budgets/{budget['id']}").raise_for_status().json()["state"]
        return 0 if state["held"] else state["spent"]

    assert status(team, team.key) == 200
    once = eventually(spent, within_s=10, what="the call is posted")

    newest = told(system, team, "rotate")["key"]
    assert [status(team, key) for key in (team.key, newest)] == [200, 200]
    assert eventually(lambda: spent() if spent() > 2 * once else None, within_s=10, what="both count") == 3 * once

    def former_use() -> str | None:
        shown = system.api.get(f"/api/v1/keys/{team.key_id}").raise_for_status().json()
        used: str | None = shown["former_secret"]["last_used_at"]
        return used

    eventually(former_use, within_s=10, what="the former secret's use is known")
    told(system, team, "end-grace")
    assert [status(team, key) for key in (team.key, newest)] == [401, 200]


def test_revoking_ends_the_former_secret_too_on_the_next_request(system: System) -> None:
    team = system.new_team("ended")
    newest = told(system, team, "rotate", grace_hours=720)["key"]
    assert [status(team, key) for key in (team.key, newest)] == [200, 200]

    assert system.api.post("/api/v1/keys/revoke", json={"ids": [team.key_id]}).json() == {"revoked": 1}

    assert [status(team, key) for key in (team.key, newest)] == [401, 401]
    assert len(team.books()) == 2


def test_a_key_is_refused_on_other_routes_and_from_other_networks_whatever_a_client_claims(system: System) -> None:
    team = system.new_team("restricted")
    path, claim = f"/api/v1/keys/{team.key_id}", {"x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7"}

    system.change(path, routes=["openai-chat-completions"], networks=["127.0.0.0/8", "::1"])
    assert status(team, team.key) == 200
    listing = system.client.get(f"{system.gateway}/v1/models", headers={"authorization": f"Bearer {team.key}"})
    assert refusal(listing) == (403, "route_not_allowed")

    system.change(path, routes=None, networks=["192.0.2.0/24"])
    for headers in ({}, claim):
        assert refusal(team.post(team.request(max_tokens=5), **headers)) == (403, "network_not_allowed")
    system.change(path, networks=["127.0.0.1", "::1"])
    assert status(team, team.key, **claim) == 200
    assert len(team.books()) == 2
