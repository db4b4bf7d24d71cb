"""Cohere's chat at the provider, as the official SDK sees it, and what stands in its books."""

from __future__ import annotations

from collections.abc import Iterator

import cohere
import httpx
import pytest
from cohere import UserChatMessageV2

from tests.demo.conftest import Account

MODEL = "command-r-08-2024"
HELLO: cohere.ChatMessages = [UserChatMessageV2(content="Say hello.")]


@pytest.fixture
def sdk(account: Account) -> Iterator[cohere.ClientV2]:
    with httpx.Client(timeout=60) as client:
        yield cohere.ClientV2(api_key=account.name, base_url=account.provider_url, httpx_client=client)


def test_an_answer_and_the_books_agree(account: Account, sdk: cohere.ClientV2) -> None:
    usage = sdk.chat(model=MODEL, messages=HELLO, max_tokens=7).usage

    call = account.only_call()
    assert usage is not None
    assert usage.billed_units is not None
    assert usage.tokens is not None
    assert (usage.billed_units.input_tokens, usage.billed_units.output_tokens) == (call["input_tokens"], 7)
    assert (usage.tokens.input_tokens or 0) > call["input_tokens"]
    assert call["amount_nusd"] == call["input_tokens"] * 150 + 7 * 600


def test_a_stream_ends_with_the_same(account: Account, sdk: cohere.ClientV2) -> None:
    account.behave(output_tokens=12)

    events = list(sdk.chat_stream(model=MODEL, messages=HELLO))

    assert [event.type for event in events].count("content-delta") == 12
    assert account.only_call()["finished"] is True


@pytest.mark.parametrize(
    ("changes", "status"), [({"messages": []}, 400), ({"max_tokens": 10**6}, 400), ({"model": "gpt-4o"}, 404)]
)
def test_refusals_have_coheres_shape(account: Account, changes: dict[str, object], status: int) -> None:
    body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {account.name}"}

    answer = httpx.post(f"{account.provider_url}/v2/chat", json=body | changes, headers=headers)

    assert (answer.status_code, {*answer.json()}) == (status, {"id", "message"})
    assert account.only_call()["amount_nusd"] == 0
