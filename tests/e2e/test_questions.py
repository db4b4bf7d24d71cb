"""Ask before you spend, through the whole system: a question reaches no provider, and its answer then happens."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.system import System, Team

DRY_RUN = {"x-bursar-dry-run": "1"}


def estimate(team: Team, question: dict[str, Any], *, key: str | None = None) -> httpx.Response:
    return httpx.post(
        f"{team.system.gateway}/bursar/v1/estimate",
        json=question,
        headers={"authorization": f"Bearer {key or team.key}"},
        timeout=60,
    )


def standing(team: Team, *, key: str | None = None, **headers: str) -> Any:
    answer = httpx.get(
        f"{team.system.gateway}/bursar/v1/limits",
        headers={"authorization": f"Bearer {key or team.key}"} | headers,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_dry_run_says_what_the_call_is_then_granted_and_reaches_no_provider(system: System) -> None:
    team = system.new_team("asking")
    question = team.request(max_tokens=30)

    asked = [
        team.post(question, **DRY_RUN),
        team.post(question | {"stream": True}, **DRY_RUN),
        estimate(team, question),
        estimate(team, {"path": "/v1/chat/completions", "body": question}),
    ]

    assert [answer.status_code for answer in asked] == [200] * 4
    assert {answer.headers["x-bursar-dry-run"] for answer in asked} == {"1"}
    answers = [answer.json() for answer in asked]
    named = {(each["admitted"], each["model"], each["provider"], each["max_tokens"]) for each in answers}
    assert named == {(True, team.model, team.slug, 30)}
    assert team.books() == []
    assert team.budget()["state"]["held"] == 0

    assert team.post(question).headers["x-bursar-max-tokens"] == "30"
    [call] = team.books()
    assert all(call["amount_nusd"] <= each["hold_nusd"] for each in answers)


def test_a_dry_run_of_a_refused_call_names_the_scope_and_the_time(system: System) -> None:
    team = system.new_team("asking-limited")
    system.new_limit(team, "requests", 1)
    assert team.post(team.request(max_tokens=5)).status_code == 200

    asked = team.post(team.request(), **DRY_RUN).json()

    assert asked["admitted"] is False
    assert asked["refusal"]["scope"] == "team limit of requests per minute"
    assert 40_000 < asked["refusal"]["retry_after_ms"] <= 61_000
    assert asked["refusal"]["earliest_at"].endswith("Z")
    assert len(team.books()) == 1


def test_a_used_up_budget_is_an_answer_without_its_cap(system: System) -> None:
    team = system.new_team("asking-poor", cap_nusd=43_210)

    asked = estimate(team, team.request())

    assert asked.json()["refusal"]["scope"] == "team monthly budget"
    assert asked.json()["refusal"]["code"] == "insufficient_quota"
    assert "4321" not in asked.text


def test_an_unclear_dry_run_spends_nothing(system: System) -> None:
    team = system.new_team("unclear")

    assert team.post(team.request(), **{"x-bursar-dry-run": "yes"}).status_code == 400
    assert team.books() == []


@pytest.mark.parametrize("path", ["estimate", "limits"])
def test_questions_need_a_key(system: System, path: str) -> None:
    url = f"{system.gateway}/bursar/v1/{path}"

    assert httpx.request("POST" if path == "estimate" else "GET", url).status_code == 401


def test_a_key_is_told_its_own_limits_and_what_remains(system: System) -> None:
    team = system.new_team("told", cap_nusd=10**9)
    system.new_limit(team, "requests", 5)
    assert team.post(team.request(max_tokens=5)).status_code == 200

    told = standing(team)

    assert (told["key"], told["team"]) == (team.key_id, team.slug)
    [limit] = [each for each in told["limits"] if each["scope"] == "team"]
    assert (limit["amount"], limit["remaining"]) == (5, 4)
    [budget] = [each for each in told["budgets"] if each["scope"] == "team"]
    assert budget["amount"] == 10**9
    assert budget["remaining"] < 10**9
    assert all(each["amount"] is None for each in told["limits"] + told["budgets"] if each["scope"] == "organization")


def test_answers_and_refusals_tell_how_the_limits_stand(system: System) -> None:
    team = system.new_team("headers")
    system.new_limit(team, "requests", 1)

    admitted, refused = (team.post(team.request(max_tokens=5)) for _ in range(2))

    assert [answer.status_code for answer in (admitted, refused)] == [200, 429]
    for answer in (admitted, refused):
        assert answer.headers["ratelimit-policy"] == '"team-rpm";q=1;w=60'
        assert answer.headers["ratelimit"].startswith('"team-rpm";r=0;t=')
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(refused.headers["retry-after"]) * 1000 >= int(refused.headers["retry-after-ms"])


def test_a_key_that_speaks_for_users_meets_their_own_limits_and_no_other_key_does(system: System) -> None:
    team = system.new_team("users")
    system.create(
        "limits",
        name=f"{team.slug}-user",
        scope="user",
        subject=f"alice@{team.slug}",
        unit="requests",
        amount=1,
        window_seconds=60,
    )
    speaking = system.create("keys", team=team.slug, name=f"{team.slug}-chat", speaks_for_users=True)["key"]
    alice = {"user": f"alice@{team.slug}"}
    bearer = {"authorization": f"Bearer {speaking}"}

    assert [team.post(team.request(max_tokens=5, **alice)).status_code for _ in range(2)] == [200, 200]
    assert team.post(team.request(max_tokens=5, **alice), **bearer).status_code == 200
    by_header = team.post(team.request(max_tokens=5), **bearer, **{"x-user-id": alice["user"]})
    assert by_header.status_code == 429
    assert "user limit" in by_header.json()["error"]["message"]
    assert team.post(team.request(max_tokens=5, user="bob"), **bearer).status_code == 200
    contradicting = team.post(team.request(max_tokens=5, user="bob"), **bearer, **{"x-user-id": alice["user"]})
    assert contradicting.status_code == 400


def test_a_limit_of_one_provider_or_tag_concerns_the_calls_that_it_names(system: System) -> None:
    team = system.new_team("narrowed")
    tagged = system.create("keys", team=team.slug, name=f"{team.slug}-batch", tags=["batch"])["key"]
    limit = {"scope": "team", "subject": team.slug, "unit": "requests", "window_seconds": 60}
    system.create("limits", name=f"{team.slug}-tag", tag="batch", amount=1, **limit)
    by_tag = {"authorization": f"Bearer {tagged}"}

    assert [team.post(team.request(max_tokens=5), **by_tag).status_code for _ in range(2)] == [200, 429]
    assert team.post(team.request(max_tokens=5)).status_code == 200

    system.create("limits", name=f"{team.slug}-provider", provider=team.slug, amount=0, **limit)
    refused = team.post(team.request(max_tokens=5))
    assert refused.status_code == 413
    assert f"provider {team.slug}" in refused.json()["error"]["message"]
