"""What an administrator changes counts on the very next request."""

from __future__ import annotations

from tests.e2e.system import System


def test_a_new_key_works_on_its_first_request(system: System) -> None:
    team = system.new_team("fresh")

    key = system.create("keys", team=team.slug, name="fresh-second")["key"]

    assert team.post(team.request(max_tokens=5), authorization=f"Bearer {key}").status_code == 200


def test_a_revoked_key_stops_on_its_next_request(system: System) -> None:
    team = system.new_team("revoked")
    assert team.post(team.request(max_tokens=5)).status_code == 200

    assert system.api.post(f"/api/v1/keys/{team.key_id}/revoke").status_code == 200

    assert team.post(team.request(max_tokens=5)).status_code == 401
    assert len(team.books()) == 1


def test_a_raised_cap_admits_and_a_lowered_cap_refuses_on_the_next_request(system: System) -> None:
    team = system.new_team("recapped", cap_nusd=0)
    assert team.post(team.request(max_tokens=5)).status_code == 429

    team.set_cap_nusd(1_000_000_000)
    assert team.post(team.request(max_tokens=5)).status_code == 200

    team.set_cap_nusd(0)
    assert team.post(team.request(max_tokens=5)).status_code == 429


def test_a_changed_limit_counts_on_the_next_request(system: System) -> None:
    team = system.new_team("relimited")
    limit = system.new_limit(team, "requests", 1, window_seconds=3600)
    assert team.post(team.request(max_tokens=5)).status_code == 200
    assert team.post(team.request(max_tokens=5)).status_code == 429

    system.change(f"/api/v1/limits/{limit['id']}", amount=2)

    assert team.post(team.request(max_tokens=5)).status_code == 200
