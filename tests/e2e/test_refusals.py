"""Every way of being told no: a stable code, the OpenAI shape, and nothing that reaches the provider."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.e2e.system import System, Team


@pytest.fixture(scope="module")
def team(system: System) -> Team:
    return system.new_team("refused")


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    "key",
    ["none", "sk-not-ours", "bsr_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_AAAAAA"],
    ids=["word", "foreign", "forged"],
)
def test_a_wrong_key_is_401(team: Team, key: str) -> None:
    answer = team.post(team.request(), authorization=f"Bearer {key}")

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


def test_no_key_at_all_is_401(system: System, team: Team) -> None:
    answer = httpx.post(f"{system.gateway}/v1/chat/completions", json=team.request())

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


def test_two_different_keys_in_one_request_are_401(team: Team) -> None:
    assert team.post(team.request(), **{"x-api-key": "bsr_other"}).status_code == 401


def test_the_sdk_raises_its_own_authentication_error(team: Team) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        team.sdk(key="sk-wrong").chat.completions.create(model=team.model, messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "invalid_api_key"


def test_a_model_that_the_team_may_not_use_is_403(system: System, team: Team) -> None:
    other = system.new_team("other")

    answer = team.post(team.request(model=other.model))

    assert answer.status_code == 403
    assert error_of(answer)["code"] == "model_not_allowed"


def test_a_model_that_does_not_exist_is_404(team: Team) -> None:
    answer = team.post(team.request(model="no-such-model"))

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_not_found"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"model": "a", "model": "b", "messages": []}',
        b'{"model": "a", "messages": [{"role": "user", "role": "system", "content": ""}]}',
        b'{"model": NaN, "messages": []}',
        b"\xef\xbb\xbf{}",
        b'{"model": "\xff"}',
        b"[" * 10_000,
        b'{"model": "a", "messages": [], "max_tokens": ' + b"9" * 5_000 + b"}",
    ],
    ids=["empty", "cut", "list", "null", "twice", "twice-deep", "nan", "bom", "not-utf8", "deep", "long-number"],
)
def test_a_body_that_is_not_one_clear_json_object_is_400(team: Team, body: bytes) -> None:
    answer = team.post(body)

    assert answer.status_code == 400
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize("max_tokens", [0, -1, 1.5, "10", True, 2**63])
def test_a_max_tokens_that_means_nothing_is_400(team: Team, max_tokens: object) -> None:
    answer = team.post(team.request(max_tokens=max_tokens))

    assert answer.status_code == 400
    assert error_of(answer)["param"] == "max_tokens"


def test_a_body_that_is_too_large_is_413(team: Team) -> None:
    answer = team.post(team.request(messages=[{"role": "user", "content": "x" * 11_000_000}]))

    assert answer.status_code == 413


def test_a_compressed_body_is_415(team: Team) -> None:
    answer = team.post(team.request(), **{"content-encoding": "gzip"})

    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completionsX", "/v1/chat/completions/abc/cancel"])
def test_another_path_is_not_served(system: System, team: Team, path: str) -> None:
    answer = system.client.post(f"{system.gateway}{path}", headers={"authorization": f"Bearer {team.key}"}, json={})

    assert answer.status_code == 404


def test_a_rate_limit_is_429_with_the_time_at_which_it_fits(system: System) -> None:
    team = system.new_team("limited")
    system.new_limit(team, "requests", 2)
    answers = [team.post(team.request(max_tokens=5)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert error_of(answers[2])["code"] == "rate_limit_exceeded"
    assert 50 <= int(answers[2].headers["retry-after"]) <= 61
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "1"
    assert len(team.books()) == 2


def test_a_token_limit_counts_the_tokens_that_a_call_may_use(system: System) -> None:
    team = system.new_team("tokens")
    system.new_limit(team, "tokens", 500)

    assert team.post(team.request(max_tokens=400)).status_code == 200
    assert team.post(team.request(max_tokens=400)).status_code == 429


def test_a_used_up_budget_is_429_and_sdks_are_told_not_to_retry(system: System) -> None:
    team = system.new_team("empty", cap_nusd=0)

    answer = team.post(team.request())

    assert answer.status_code == 429
    assert error_of(answer)["code"] == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert "0" not in error_of(answer)["message"]
    assert team.books() == []


def test_no_refused_request_has_reached_the_provider(team: Team) -> None:
    assert team.books() == []
