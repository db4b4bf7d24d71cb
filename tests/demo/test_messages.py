"""Anthropic's Messages at the provider, as the official SDK sees them, and what stands in its books."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam

from tests.demo.conftest import Account

HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def sdk(account: Account) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=account.provider_url, api_key=account.name, max_retries=0) as client:
        yield client


def test_an_answer_and_the_books_agree(account: Account, sdk: anthropic.Anthropic) -> None:
    message = sdk.messages.create(model="claude-haiku-4-5", max_tokens=7, messages=HELLO)

    call = account.only_call()
    assert (message.id, message.stop_reason) == (call["id"], "max_tokens")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (call["input_tokens"], 7)
    assert call["amount_nusd"] == call["input_tokens"] * 1000 + 7 * 5000


def test_a_stream_tells_the_same_piece_by_piece(account: Account, sdk: anthropic.Anthropic) -> None:
    account.behave(output_tokens=12)

    with sdk.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()

    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 12)
    assert account.only_call()["finished"] is True


@pytest.mark.parametrize(
    ("kept", "minutes", "hour"), [((), 0, 0), (("5m",), 9, 0), (("1h",), 0, 9), (("5m", "1h"), 5, 4)]
)
def test_the_cache_writes_for_as_long_as_was_asked(
    account: Account, kept: tuple[str, ...], minutes: int, hour: int
) -> None:
    account.behave(cache_read_tokens=3, cache_write_tokens=9)
    blocks = [{"type": "text", "text": "a b c", "cache_control": {"type": "ephemeral", "ttl": ttl}} for ttl in kept]
    body = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": HELLO, "system": blocks}

    usage = post(account, body).json()["usage"]

    call, read = account.only_call(), 3 if kept else 0
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour}
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (read, minutes + hour)
    assert usage["input_tokens"] == call["input_tokens"] - read - minutes - hour
    assert call["amount_nusd"] == (
        usage["input_tokens"] * 1000 + read * 100 + minutes * 1250 + hour * 2000 + usage["output_tokens"] * 5000
    )


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"max_tokens": 10**6}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, 400, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": "a b c " * 70_000}]}, 400, "invalid_request_error"),
        ({"model": "gpt-4o"}, 404, "not_found_error"),
    ],
)
def test_refusals_have_anthropics_shape(account: Account, changes: dict[str, object], status: int, kind: str) -> None:
    answer = post(account, {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": HELLO} | changes)

    assert (answer.status_code, answer.json()["type"], answer.json()["error"]["type"]) == (status, "error", kind)
    assert account.only_call()["amount_nusd"] == 0


def test_a_request_needs_a_key_and_a_version(account: Account) -> None:
    url = f"{account.provider_url}/v1/messages"

    assert httpx.post(url, json={}, headers={"x-api-key": account.name}).status_code == 400
    assert httpx.post(url, json={}, headers={"anthropic-version": "2023-06-01"}).status_code == 401


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error")])
def test_a_failure_is_worded_as_anthropic_does(account: Account, status: int, kind: str) -> None:
    account.behave(fail_status=status)

    answer = post(account, {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": HELLO})

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def post(account: Account, body: dict[str, object]) -> httpx.Response:
    headers = {"x-api-key": account.name, "anthropic-version": "2023-06-01"}
    return httpx.post(f"{account.provider_url}/v1/messages", json=body, headers=headers)
