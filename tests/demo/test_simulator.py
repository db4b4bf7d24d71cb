"""The provider as the official SDK sees it, and what stands in its books."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from demo.simulator.tokens import count_tokens
from tests.demo.conftest import Account

_HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
# "user" and "Say hello." are 1 and 3 tokens; the message costs 3 more and the reply's start 3.
_HELLO_TOKENS = 10


def test_a_plain_answer_has_what_the_sdk_reads(account: Account) -> None:
    completion = account.client().chat.completions.create(model="gpt-4o-mini", messages=_HELLO)
    assert completion.object == "chat.completion"
    assert completion.model == "gpt-4o-mini-2024-07-18"
    assert completion.system_fingerprint is not None
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == _HELLO_TOKENS
    assert completion.usage.completion_tokens == count_tokens(completion.choices[0].message.content or "")
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 0
    assert completion.choices[0].finish_reason == "stop"
    assert completion._request_id is not None


def test_the_books_hold_what_the_answer_says(account: Account) -> None:
    completion = account.client().chat.completions.create(
        model="gpt-4o-mini", messages=_HELLO, max_tokens=7, extra_headers={"x-client-request-id": "mine"}
    )
    assert completion.choices[0].finish_reason == "length"
    assert account.books()["total_nusd"] == _HELLO_TOKENS * 150 + 7 * 600
    call = account.only_call()
    assert "x-client-request-id" in call.pop("header_names")
    assert len(bytes.fromhex(call.pop("body_sha256"))) == 32
    assert call == {
        "id": completion.id,
        "client_request_id": "mine",
        "account": account.name,
        "model": "gpt-4o-mini",
        "stream": False,
        "status": 200,
        "input_tokens": _HELLO_TOKENS,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "output_tokens": 7,
        "pieces": {},
        "amount_nusd": _HELLO_TOKENS * 150 + 7 * 600,
        "finished": True,
    }


def test_a_stream_says_its_usage_to_those_who_ask(account: Account) -> None:
    stream = account.client().chat.completions.create(
        model="gpt-4.1", messages=_HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == count_tokens(text) == account.only_call()["output_tokens"]
    assert {chunk.usage for chunk in chunks} == {None}
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]


def test_a_stream_keeps_its_usage_to_itself_otherwise(account: Account) -> None:
    with account.client().chat.completions.with_streaming_response.create(
        model="gpt-4o", messages=_HELLO, stream=True
    ) as answer:
        events = answer.read().decode().split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events[-2:] == ["data: [DONE]", ""]
    assert not any("usage" in event for event in events)


def test_several_choices_are_all_billed(account: Account) -> None:
    account.behave(output_tokens=5)
    completion = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO, n=3)
    stream = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO, n=2, stream=True)
    assert {choice.index for chunk in stream for choice in chunk.choices} == {0, 1}
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 15
    assert [call["output_tokens"] for call in account.books()["calls"]] == [15, 10]


@pytest.mark.parametrize(("wanted", "written"), [("max", 20), (8, 8), (99, 20)])
def test_an_account_can_order_the_length_of_its_answers(account: Account, wanted: Any, written: int) -> None:
    account.behave(output_tokens=wanted)
    completion = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO, max_completion_tokens=20)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == written
    assert completion.choices[0].finish_reason == ("length" if written == 20 else "stop")


def test_cached_input_is_billed_at_its_own_price(account: Account) -> None:
    account.behave(cache_read_tokens=6, output_tokens=1)
    completion = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 6
    assert account.books()["total_nusd"] == 4 * 2_500 + 6 * 1_250 + 10_000


def test_an_account_can_order_failures_that_pass(account: Account) -> None:
    account.behave(fail_status=503, fail_times=2)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            account.client().chat.completions.create(model="gpt-4o", messages=_HELLO)
    account.client().chat.completions.create(model="gpt-4o", messages=_HELLO)
    calls = account.books()["calls"]
    assert [call["status"] for call in calls] == [503, 503, 200]
    assert [call["amount_nusd"] > 0 for call in calls] == [False, False, True]


def test_a_stream_can_be_broken_off_by_the_provider(account: Account) -> None:
    account.behave(output_tokens=50, cut_after_tokens=4)
    stream = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO, stream=True)
    with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
        list(stream)
    call = account.only_call()
    assert (call["output_tokens"], call["finished"]) == (4, False)


def test_a_client_that_leaves_pays_for_what_was_sent(account: Account) -> None:
    account.behave(output_tokens=2000, token_ms=2)
    stream = account.client().chat.completions.create(model="gpt-4o", messages=_HELLO, stream=True)
    received = sum(1 for _, chunk in zip(range(6), stream, strict=False) if chunk.choices[0].delta.content)
    stream.close()
    call = _settled(account)
    assert received <= call["output_tokens"] < 2000
    assert not call["finished"]
    assert call["amount_nusd"] == _HELLO_TOKENS * 2_500 + call["output_tokens"] * 10_000


def test_64_clients_stream_at_once_and_each_gets_its_own_words(account: Account) -> None:
    account.behave(first_token_ms=100, token_ms=1, output_tokens=40)

    async def words_of(client: openai.AsyncOpenAI, number: int) -> int:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": f"Question {number}"}], stream=True
        )
        return count_tokens("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))

    async def everyone() -> list[int]:
        async with openai.AsyncOpenAI(base_url=f"{account.provider_url}/v1", api_key=account.name) as client:
            return await asyncio.gather(*(words_of(client, number) for number in range(64)))

    assert asyncio.run(everyone()) == [40] * 64
    assert [call["output_tokens"] for call in account.books()["calls"]] == [40] * 64


def test_forgotten_books_are_empty_for_this_account_only(account: Account) -> None:
    other = replace(account, name=f"{account.name}-other")
    for each in (account, other):
        each.client().chat.completions.create(model="gpt-4o", messages=_HELLO)
    httpx.delete(f"{account.provider_url}/_books", params={"account": account.name}).raise_for_status()
    assert account.books() == {"calls": [], "total_nusd": 0}
    assert len(other.books()["calls"]) == 1


def _settled(account: Account) -> dict[str, Any]:
    """The only call, once the provider has seen that nobody listens: its line no longer grows."""
    call = account.only_call()
    for _ in range(200):
        before, call = call, account.only_call()
        if before == call:
            break
    return call
