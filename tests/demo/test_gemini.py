"""Gemini at the provider, as the official SDK sees it, and what stands in its books."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from google import genai
from google.genai.types import GenerateContentConfig, HttpOptions, ThinkingConfig

from tests.demo.conftest import Account

MODEL = "gemini-2.5-flash"
HELLO: dict[str, object] = {"contents": [{"parts": [{"text": "Say hello."}]}]}


@pytest.fixture
def sdk(account: Account) -> Iterator[genai.Client]:
    with genai.Client(api_key=account.name, http_options=HttpOptions(base_url=account.provider_url)) as client:
        yield client


def post(
    account: Account, body: dict[str, object], *, path: str = f"/v1beta/models/{MODEL}:generateContent"
) -> httpx.Response:
    return httpx.post(account.provider_url + path, json=body, headers={"x-goog-api-key": account.name})


def test_an_answer_and_the_books_agree(account: Account, sdk: genai.Client) -> None:
    account.behave(cache_read_tokens=3, thought_tokens=40)
    thinking = ThinkingConfig(thinking_budget=11)
    config = GenerateContentConfig(max_output_tokens=7, candidate_count=2, thinking_config=thinking)

    usage = sdk.models.generate_content(model=MODEL, contents="Say hello.", config=config).usage_metadata

    call = account.only_call()
    assert usage is not None
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (call["input_tokens"], 3)
    assert (usage.total_token_count or 0) - (usage.prompt_token_count or 0) == 2 * (7 + 11) == call["output_tokens"]
    assert call["amount_nusd"] == (call["input_tokens"] - 3) * 300 + 3 * 30 + 36 * 2500


def test_a_stream_tells_the_usage_so_far_in_every_chunk(account: Account, sdk: genai.Client) -> None:
    account.behave(output_tokens=12, thought_tokens=5)

    chunks = list(sdk.models.generate_content_stream(model=MODEL, contents="Say hello."))

    told = [chunk.usage_metadata.candidates_token_count for chunk in chunks if chunk.usage_metadata]
    assert told == [None, *range(1, 13)]
    assert [chunk.usage_metadata.thoughts_token_count for chunk in chunks if chunk.usage_metadata] == [5] * 13
    assert account.only_call()["output_tokens"] == 17


def test_a_stream_without_events_is_one_array(account: Account) -> None:
    account.behave(output_tokens=3)

    answer = post(account, HELLO, path=f"/v1beta/models/{MODEL}:streamGenerateContent")

    assert answer.headers["content-type"].startswith("application/json")
    assert [chunk["candidates"][0].get("finishReason") for chunk in answer.json()] == [None, None, None, "STOP"]
    assert account.only_call()["finished"] is True


@pytest.mark.parametrize(
    ("changes", "model", "status"),
    [
        ({"contents": []}, MODEL, "INVALID_ARGUMENT"),
        ({"generation_config": {"max_output_tokens": 10**6}}, MODEL, "INVALID_ARGUMENT"),
        ({"generationConfig": {"candidateCount": 9}}, MODEL, "INVALID_ARGUMENT"),
        ({}, "gpt-4o", "NOT_FOUND"),
    ],
)
def test_refusals_have_googles_shape(account: Account, changes: dict[str, object], model: str, status: str) -> None:
    answer = post(account, HELLO | changes, path=f"/v1/models/{model}:generateContent")

    assert answer.json()["error"]["status"] == status
    assert answer.json()["error"]["code"] == answer.status_code
    assert account.only_call()["amount_nusd"] == 0
