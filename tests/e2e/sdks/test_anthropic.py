"""The unmodified Anthropic SDK through the whole system, checked against the provider's own books."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, TextBlockParam

from tests.e2e.system import CLAUDE, System, Team, eventually

HELLO: list[MessageParam] = [{"role": "user", "content": "Where is my parcel?"}]


def new_team(system: System, name: str, **fields: Any) -> Team:
    return system.new_team(name, **CLAUDE, **fields)


def test_a_plain_call_is_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = new_team(system, "claude")

    answer = team.anthropic().messages.create(model=team.model, max_tokens=40, messages=HELLO)

    assert answer.content[0].type == "text"
    assert answer.content[0].text
    assert answer.model == "claude-haiku-4-5-20251001"
    [row] = team.booked()
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert (row["protocol"], row["response_model"]) == ("anthropic_messages", answer.model)
    [billed] = team.books()
    assert billed["account"] == team.account
    assert {"x-api-key", "anthropic-version"} <= set(billed["header_names"])
    assert "authorization" not in billed["header_names"]


def test_a_streamed_call_keeps_every_event_and_is_booked_exactly(system: System) -> None:
    team = new_team(system, "claude-stream")

    with team.anthropic().messages.stream(model=team.model, max_tokens=60, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text
    [row] = team.booked()
    assert row["output_tokens"] == message.usage.output_tokens
    assert row["input_tokens"] == message.usage.input_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_the_cache_reads_and_writes_for_each_time_is_booked_exactly(system: System, stream: bool) -> None:
    team = new_team(system, "claude-cache")
    team.behave(cache_read_tokens=30, cache_write_tokens=41)
    manual: list[TextBlockParam] = [
        {"type": "text", "text": "The manual. " * 20, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "The case. " * 20, "cache_control": {"type": "ephemeral"}},
    ]

    sdk = team.anthropic()
    if stream:
        with sdk.messages.stream(model=team.model, max_tokens=60, messages=HELLO, system=manual) as events:
            list(events)
    else:
        sdk.messages.create(model=team.model, max_tokens=60, messages=HELLO, system=manual)

    [row] = team.booked()
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["cache_write_1h_tokens"]) == (30, 41, 20)
    assert row["amount_nusd"] <= row["hold_nusd"]


def test_a_used_up_budget_raises_the_sdks_own_error_at_once(system: System) -> None:
    team = new_team(system, "claude-empty", cap_nusd=0)

    with pytest.raises(anthropic.RateLimitError, match="budget") as caught:
        team.anthropic(max_retries=5).messages.create(model=team.model, max_tokens=40, messages=HELLO)

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.body == {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": caught.value.body["error"]["message"],  # type: ignore[index]
            "code": "insufficient_quota",
            "param": None,
        },
    }
    assert len([row for row in team.ledger() if row["kind"] == "refused"]) <= 1
    assert team.books() == []


def test_a_rate_limit_is_told_as_anthropic_tells_it(system: System) -> None:
    team = new_team(system, "claude-limited")
    system.new_limit(team, "requests", 1)
    sdk = team.anthropic()

    first = sdk.messages.with_raw_response.create(model=team.model, max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.RateLimitError) as caught:
        sdk.messages.create(model=team.model, max_tokens=5, messages=HELLO)

    assert first.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert "anthropic-organization-id" not in first.headers
    assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert 50 <= int(caught.value.response.headers["retry-after"]) <= 61


def test_each_refusal_raises_the_sdks_own_error(system: System) -> None:
    team = new_team(system, "claude-refused")
    other = new_team(system, "claude-other")
    sdk = team.anthropic()

    with pytest.raises(anthropic.AuthenticationError, match="not valid"):
        team.anthropic(key="sk-ant-wrong").messages.create(model=team.model, max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.PermissionDeniedError):
        sdk.messages.create(model=other.model, max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.create(model="no-such-model", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="cannot be metered"):
        sdk.messages.create(
            model=team.model,
            max_tokens=5,
            messages=HELLO,
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )
    with pytest.raises(anthropic.BadRequestError, match="context-1m"):
        sdk.messages.create(
            model=team.model, max_tokens=5, messages=HELLO, extra_headers={"anthropic-beta": "context-1m-2025-08-07"}
        )
    assert team.books() == []


def test_a_provider_that_fails_is_heard_in_its_own_words_and_billed_nothing(system: System) -> None:
    team = new_team(system, "claude-failing")
    team.behave(fail_status=529)

    with pytest.raises(anthropic.APIStatusError) as caught:
        team.anthropic().messages.create(model=team.model, max_tokens=5, messages=HELLO)

    assert caught.value.status_code == 529
    assert "overloaded_error" in caught.value.response.text
    eventually(lambda: [row for row in team.ledger() if row["kind"] == "voided"], within_s=5, what="the void")
    assert team.spent_in_ledger() == []


def test_an_estimate_is_had_for_this_path_too(system: System) -> None:
    team = new_team(system, "claude-estimate")
    question = {"model": team.model, "max_tokens": 40, "messages": HELLO}

    answer = httpx.post(
        f"{system.gateway}/bursar/v1/estimate",
        json={"path": "/v1/messages", "body": question},
        headers={"x-api-key": team.key},
    )

    told = answer.raise_for_status().json()
    assert (told["admitted"], told["provider_model"], told["max_tokens"]) == (True, "claude-haiku-4-5", 40)
    assert team.books() == []


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/messages/count_tokens", "/v1/messagesX", "/v1/complete"])
def test_another_path_is_not_served(system: System, path: str) -> None:
    team = new_team(system, "claude-paths")

    assert httpx.post(f"{system.gateway}{path}", headers={"x-api-key": team.key}, json={}).status_code == 404
