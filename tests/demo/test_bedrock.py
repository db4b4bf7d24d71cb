"""Bedrock at the provider, as AWS's own SDK sees it, and what stands in its books."""

from __future__ import annotations

import json
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError

from tests.demo.conftest import Account

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
HELLO = [{"role": "user", "content": [{"text": "Say hello."}]}]
CACHED = [{"text": "The manual. " * 20}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
INVOCATION = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 7,
    "messages": [{"role": "user", "content": "Say hello."}],
}


def sdk(account: Account, *, secret: str | None = None) -> Any:
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=account.provider_url,
        region_name="us-east-1",
        aws_access_key_id=f"AKIA{account.name.encode().hex().upper()}",
        aws_secret_access_key=secret or f"{account.name}-secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    account.to_close.callback(client.close)
    return client


def test_an_answer_and_the_books_agree(account: Account) -> None:
    account.behave(output_tokens="max", cache_read_tokens=5, cache_write_tokens=9)

    answer = sdk(account).converse(modelId=MODEL, messages=HELLO, system=CACHED, inferenceConfig={"maxTokens": 7})

    call = account.only_call()
    assert answer["output"]["message"]["content"][0]["text"]
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"] == {
        "inputTokens": call["input_tokens"] - 14,
        "outputTokens": 7,
        "totalTokens": call["input_tokens"] + 7,
        "cacheReadInputTokens": 5,
        "cacheWriteInputTokens": 9,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 9}],
    }
    assert (call["finished"], call["cache_write_1h_tokens"], call["output_tokens"]) == (True, 9, 7)


def test_a_stream_says_the_same_and_ends_with_its_usage(account: Account) -> None:
    whole = sdk(account).converse(modelId=MODEL, messages=HELLO)

    events = list(sdk(account).converse_stream(modelId=MODEL, messages=HELLO)["stream"])

    said = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert said == whole["output"]["message"]["content"][0]["text"]
    assert events[-1]["metadata"]["usage"] == whole["usage"]


def test_an_invocation_tells_its_usage_in_body_and_headers(account: Account) -> None:
    answer = sdk(account).invoke_model(modelId=MODEL, body=json.dumps(INVOCATION))

    usage = json.loads(answer["body"].read())["usage"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    call = account.only_call()
    assert usage["input_tokens"] == call["input_tokens"] == int(headers["x-amzn-bedrock-input-token-count"])
    assert usage["output_tokens"] == call["output_tokens"] == int(headers["x-amzn-bedrock-output-token-count"])


def test_an_invocations_stream_is_the_models_own_with_awss_count_at_its_end(account: Account) -> None:
    stream = sdk(account).invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(INVOCATION))["body"]

    events = [json.loads(event["chunk"]["bytes"]) for event in stream]

    assert events[0]["type"] == "message_start"
    counted = events[-1]["amazon-bedrock-invocationMetrics"]
    call = account.only_call()
    assert (counted["inputTokenCount"], counted["outputTokenCount"]) == (call["input_tokens"], call["output_tokens"])


def test_only_who_has_the_secret_signs_for_an_account(account: Account) -> None:
    with pytest.raises(ClientError) as caught:
        sdk(account, secret="not-it").converse(modelId=MODEL, messages=HELLO)

    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert account.only_call()["amount_nusd"] == 0


def test_a_bedrock_api_key_is_taken_too(account: Account) -> None:
    url = f"{account.provider_url}/model/{MODEL.replace(':', '%3A')}/converse"

    answer = httpx.post(url, json={"messages": HELLO}, headers={"authorization": f"Bearer {account.name}"})

    assert answer.raise_for_status().json()["usage"]["inputTokens"] == account.only_call()["input_tokens"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"inferenceConfig": {"maxTokens": 10**6}}, "ValidationException"),
        ({"modelId": "amazon.no-such-model"}, "ResourceNotFoundException"),
        ({"messages": []}, "ValidationException"),
    ],
)
def test_refusals_are_in_the_words_of_aws(account: Account, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        sdk(account).converse(**{"modelId": MODEL, "messages": HELLO} | asked)

    assert caught.value.response["Error"]["Code"] == code


def test_a_stream_that_is_cut_was_billed_as_far_as_it_went(account: Account) -> None:
    account.behave(output_tokens=50, cut_after_tokens=3)

    with pytest.raises(ProtocolError):
        list(sdk(account).converse_stream(modelId=MODEL, messages=HELLO)["stream"])

    call = account.only_call()
    assert (call["output_tokens"], call["finished"]) == (3, False)
