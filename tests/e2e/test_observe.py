"""An existing route with its provider's own key, which Bursar only observes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack.gateway import CONFIGURATION
from stack.observed_route import add_service, configure, observed_service
from tests.e2e.system import System, Team, eventually
from tests.llm.multipart import sound


@pytest.fixture(scope="module")
def team(system: System) -> Team:
    """A team whose provider the route leads to, under the name by which the provider knows the model."""
    return system.new_team("observed")


@pytest.fixture(scope="module")
def route(system: System, team: Team) -> Iterator[str]:
    service = observed_service(
        system.ready, provider=team.slug, attribution={"attribute_by": "header", "header_name": "x-cost-center"}
    )
    yield add_service(system.ready, service)
    configure(system.ready, CONFIGURATION.read_text())


def call(system: System, url: str, body: bytes, account: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return system.client.post(
        f"{url}/v1/chat/completions",
        content=body,
        headers={"content-type": "application/json", "authorization": f"Bearer {account}"} | named,
    )


def rows_of(system: System, team: str, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        rows: list[dict[str, Any]] = system.api.get(f"/api/v1/events?team={team}").raise_for_status().json()["results"]
        return rows if len(rows) >= count else None

    return eventually(look, within_s=10, what=f"{count} rows of {team}")


def test_a_call_passes_as_it_is_and_is_in_the_ledger(system: System, team: Team, route: str) -> None:
    cost_center = f"cc-{team.slug}"
    body = b'{"model": "gpt-4o-mini","messages":[ {"role":"user","content":"caf\xc3\xa9"} ],"stop":[],"top_p":0.1}'

    answer = call(system, route, body, team.account, x_cost_center=cost_center)

    assert answer.status_code == 200
    [billed] = team.books()
    assert billed["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert "x-client-request-id" not in billed["header_names"]
    assert not [name for name in answer.headers if name.startswith("x-bursar")]
    assert answer.headers["x-ratelimit-limit-requests"] == "10000"
    [row] = rows_of(system, cost_center, 1)
    assert (row["amount_nusd"], row["quality"], row["hold_nusd"]) == (billed["amount_nusd"], "exact", 0)
    assert (row["request_model"], row["provider"]) == (team.model, team.slug)


def test_a_virtual_key_names_its_team_and_stays_here(system: System, team: Team, route: str) -> None:
    answer = call(system, route, json.dumps({"model": "gpt-4o-mini"}).encode(), team.key)

    assert answer.status_code == 401
    assert team.key[:20] not in answer.text
    [row] = [row for row in rows_of(system, team.slug, 1) if row["kind"] == "voided"]
    assert (row["key"], row["outcome"], row["http_status"]) == (team.key_id, "provider_error", 401)


def test_what_nobody_can_read_passes_too(system: System, team: Team, route: str) -> None:
    cost_center = f"odd-{team.slug}"

    answer = call(system, route, b"not json", team.account, x_cost_center=cost_center)

    assert (answer.status_code, "could not parse" in answer.text) == (400, True)
    [row] = rows_of(system, cost_center, 1)
    assert (row["kind"], row["shadow_refusals"]) == ("voided", ["invalid_request"])


def test_a_form_passes_as_it_is_and_is_priced(system: System) -> None:
    rates = dict.fromkeys((f"{name}_usd_per_mtok" for name in ("input", "cache_read", "cache_write", "output")), "0")
    price = rates | {"usd_per_piece": {"second": "0.0001"}}
    whisper: dict[str, Any] = {"protocol": "openai_transcriptions", "provider_model": "whisper-1", "price": price}
    team = system.new_team("observed-forms", max_output_tokens=448, **whisper)
    by_header = {"attribute_by": "header", "header_name": "x-cost-center"}
    service = observed_service(system.ready, provider=team.slug, protocol=whisper["protocol"], attribution=by_header)
    request = system.client.build_request(
        "POST",
        f"{add_service(system.ready, service)}/v1/audio/transcriptions",
        data={"model": "whisper-1", "language": "en"},
        files={"file": ("call.wav", sound(12))},
        headers={"authorization": f"Bearer {team.account}", "x-cost-center": team.slug},
    )

    answer = system.client.send(request)
    configure(system.ready, CONFIGURATION.read_text())

    assert answer.status_code == 200
    [billed] = team.books()
    assert billed["body_sha256"] == hashlib.sha256(request.read()).hexdigest()
    [row] = rows_of(system, team.slug, 1)
    assert (row["amount_nusd"], row["quality"], row["hold_nusd"]) == (12 * 100_000, "exact", 0)
