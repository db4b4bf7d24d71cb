"""Kong's own plugins behind the guard, as docs/neighbours.md says what they may do."""

from __future__ import annotations

import json
import os
from typing import Any, Final

import httpx
import pytest

from stack.gateway import CONFIGURATION
from stack.observed_route import configure
from stack.readiness import http_answers
from tests.e2e.system import System, Team, eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("BURSAR_GATEWAY") != "kong", reason="minikong has none of Kong's bundled plugins: set BURSAR_GATEWAY"
)

KIND: Final = [{"role": "system", "content": "Be kind. " * 50}]


def service(name: str, *plugins: dict[str, Any], extra_input_tokens: int = 0) -> dict[str, Any]:
    """A governed route of its own, with these plugins on it."""
    protocol = {"protocol": "openai_chat"}
    governed = [
        {"name": "llm-key-auth"},
        {"name": "llm-rate-limit", "config": protocol | {"extra_input_tokens": extra_input_tokens}},
        {"name": "llm-guard", "config": protocol},
        {"name": "llm-token-meter"},
    ]
    route = {"name": name, "paths": [f"/{name}"], "response_buffering": False, "plugins": [*governed, *plugins]}
    return {"name": name, "url": "https://bursar.invalid", "retries": 0, "routes": [route]}


def ai_proxy(system: System, team: Team) -> dict[str, Any]:
    model = {
        "provider": "openai",
        "name": "gpt-4o-mini",
        "options": {"upstream_url": f"{system.provider}/v1/chat/completions"},
    }
    auth = {"header_name": "Authorization", "header_value": f"Bearer {team.account}"}
    return {"name": "ai-proxy", "config": {"route_type": "llm/v1/chat", "auth": auth, "model": model}}


@pytest.fixture(scope="module")
def team(system: System) -> Any:
    team = system.new_team("neighbours")
    decorator = {"name": "ai-prompt-decorator", "config": {"prompts": {"prepend": KIND}}}
    header = {"name": "request-transformer", "config": {"add": {"headers": ["x-cost-center:42"]}}}
    cached = ["application/json; charset=utf-8"]
    cache = {"strategy": "memory", "request_method": ["POST"], "content_type": cached}
    services = [
        service("transformed", header),
        service("cached", {"name": "proxy-cache", "config": cache}),
        service("ended", {"name": "request-termination", "config": {"status_code": 200, "message": "closed"}}),
        service("proxied", ai_proxy(system, team)),
        service("decorated", decorator, ai_proxy(system, team), extra_input_tokens=200),
    ]
    text = CONFIGURATION.read_text() + "".join(f"\n  - {json.dumps(each)}" for each in services)
    configure(system.ready, f"{text}\n")
    eventually(
        lambda: http_answers(f"{system.gateway}/ended/x", method="POST", status=401), within_s=30, what="the routes"
    )
    yield team
    configure(system.ready, CONFIGURATION.read_text())


def called(team: Team, name: str, **members: Any) -> tuple[httpx.Response, dict[str, Any]]:
    """The answer and the call's row."""
    system = team.system
    answer = system.client.post(
        f"{system.gateway}/{name}/v1/chat/completions",
        json=team.request(max_tokens=20) | members,
        headers={"authorization": f"Bearer {team.key}"},
    )
    request_id = answer.headers["x-bursar-request-id"]
    rows = eventually(
        lambda: system.api.get(f"/api/v1/events?request_id={request_id}").json()["results"], within_s=10, what=name
    )
    return answer, rows[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["transformed", "proxied", "decorated"])
def test_what_they_may_do_is_billed_and_booked_alike(team: Team, name: str, stream: bool) -> None:
    answer, row = called(team, name, stream=stream)

    assert answer.status_code == 200
    billed = team.books()[-1]
    assert billed["client_request_id"] == row["request_id"]
    assert (row["quality"], row["amount_nusd"]) == ("exact", billed["amount_nusd"])
    assert billed["amount_nusd"] <= row["hold_nusd"]
    assert billed["input_tokens"] <= row["input_bound_tokens"]


def test_a_prompt_is_enlarged_within_what_is_held_for_it(team: Team) -> None:
    _, plain = called(team, "proxied")
    _, enlarged = called(team, "decorated")

    assert enlarged["input_bound_tokens"] == plain["input_bound_tokens"] + 200
    assert enlarged["input_tokens"] > plain["input_bound_tokens"]


def test_a_header_may_be_added(team: Team) -> None:
    called(team, "transformed")

    assert "x-cost-center" in team.books()[-1]["header_names"]


@pytest.mark.parametrize("name", ["ended", "cached"])
def test_what_kong_answers_itself_costs_nothing(team: Team, name: str) -> None:
    called(team, name)
    calls = len(team.books())

    answer, row = called(team, name)

    assert answer.status_code == 200
    assert (row["kind"], row["outcome"], row["amount_nusd"]) == ("voided", "not_sent", 0)
    assert len(team.books()) == calls
    assert answer.headers.get("x-cache-status", "Hit") == "Hit"


def test_a_cache_does_not_tell_one_prompt_from_another(team: Team) -> None:
    """Which is why docs/neighbours.md says to leave it off."""
    first, _ = called(team, "cached")

    other, _ = called(team, "cached", messages=[{"role": "user", "content": "Something else"}])

    assert other.content == first.content
