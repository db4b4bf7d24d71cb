"""Calls in the words of Bedrock through the whole core: admitted by the model in the path, and settled to the token."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kong_plugins.llm.estimates import asked_estimate
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle
from kong_plugins.llm.prices import Price
from kong_plugins.llm.release import Model
from tests.llm.cast import PROVIDER_KEY, deployment
from tests.llm.gateway import BUDGET, Gateway, answer, finished
from tests.llm.protocols.frames import CONTENT_TYPE, chunk, frame, metadata, text

SONNET = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PRICE = Price(
    version="2026-11",
    input_nusd=3_000_000_000,
    cache_read_nusd=300_000_000,
    cache_write_nusd=3_750_000_000,
    cache_write_1h_nusd=6_000_000_000,
    output_nusd=15_000_000_000,
)
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}


@pytest.fixture
def claude(gateway: Gateway) -> Gateway:
    """A gateway that serves the cast's model at Bedrock in both of its formats, to a team with a large budget."""
    publish(gateway)
    gateway.set_cap(10**12)
    return gateway


def publish(gateway: Gateway, *, provider_model: str = SONNET) -> None:
    fields: dict[str, Any] = {
        "base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com",
        "price": PRICE,
        "provider_model": provider_model,
    }
    serving = tuple(deployment(id=name, protocol=name, **fields) for name in ("bedrock_converse", "bedrock_invoke"))
    model = Model(
        name="mini",
        context_window_tokens=200_000,
        max_output_tokens=16_384,
        default_output_tokens=1024,
        deployments=tuple(each.id for each in serving),
    )
    gateway.publish(deployments=serving, models=(model,), budgets=(BUDGET,))


def converse(gateway: Gateway, operation: str = "converse", *blocks: object, **members: Any) -> Grant:
    message = {"role": "user", "content": [{"text": "Hello there"}, *blocks]}
    body = json.dumps({"messages": [message], "inferenceConfig": {"maxTokens": 100}} | members).encode()
    return gateway.admission.admit(gateway.caller(), body, "bedrock_converse", asked_at=f"/model/mini/{operation}")


def invoke(gateway: Gateway, operation: str = "invoke") -> Grant:
    message = {"role": "user", "content": "Hello there"}
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [message]}).encode()
    return gateway.admission.admit(gateway.caller(), body, "bedrock_invoke", asked_at=f"/model/mini/{operation}")


def settled(
    gateway: Gateway, grant: Grant, data: bytes, *, headers: dict[str, str] | None = None, **seen: Any
) -> UsageEvent:
    content_type = "application/json" if data[:1] == b"{" else CONTENT_TYPE
    kept = msgspec.structs.replace(answer(data), content_type=content_type, headers=headers or {}, **seen)
    settle(gateway.store, finished(grant, answer=kept))
    [booked] = gateway.events()
    return booked


def test_the_grant_leads_to_the_providers_own_name_of_the_model(claude: Gateway) -> None:
    table = converse(claude, "converse-stream").table()

    assert (table["host"], table["port"]) == ("bedrock-runtime.eu-central-1.amazonaws.com", 443)
    assert table["path"] == "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    assert isinstance(table["set_headers"], dict)
    assert table["set_headers"]["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert (table["answer_headers"], table["strip_usage_chunk"]) == ([], False)
    assert "x-amzn-bedrock-output-token-count" in invoke(claude).table()["answer_headers"]  # type: ignore[operator]


def test_a_call_without_a_maximum_is_given_the_models_usual_one(claude: Gateway) -> None:
    grant = converse(claude, inferenceConfig={"temperature": 0.5})

    [splice] = grant.splices
    assert splice.replacement == '{"temperature":0.5,"maxTokens":1024}'
    assert grant.meter.terms.max_tokens == 1024


def test_what_the_cache_reads_and_writes_is_booked_at_its_own_prices(claude: Gateway) -> None:
    details = [{"ttl": "1h", "inputTokens": 50}, {"ttl": "5m", "inputTokens": 100}]
    usage = {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 150}

    booked = settled(
        claude, converse(claude, "converse", HOUR), json.dumps({"usage": usage | {"cacheDetails": details}}).encode()
    )

    assert booked.quality == "exact"
    assert booked.amount_nusd == 10 * 3000 + 1000 * 300 + 100 * 3750 + 50 * 6000 + 20 * 15_000
    unsplit = settled(claude, converse(claude, "converse", HOUR), json.dumps({"usage": usage}).encode())
    assert (unsplit.quality, unsplit.cache_write_1h_tokens) == ("partial", 150)


def test_a_stream_is_booked_by_its_last_message(claude: Gateway) -> None:
    said = text("Hello") + metadata(inputTokens=10, outputTokens=20)

    booked = settled(claude, converse(claude, "converse-stream"), said)

    assert (booked.quality, booked.amount_nusd) == ("exact", 10 * 3000 + 20 * 15_000)


def test_a_stream_that_breaks_off_costs_its_bound_and_what_was_sent(claude: Gateway) -> None:
    grant = converse(claude, "converse-stream")
    booked = settled(claude, grant, frame("messageStart", role="assistant") + text("abc"), complete=False)

    assert (booked.quality, booked.outcome, booked.output_tokens) == ("partial", "interrupted", 3 + 16)
    assert booked.input_tokens == grant.meter.terms.input_bound_tokens
    assert 0 < (booked.amount_nusd or 0) < grant.meter.hold_nusd


def test_a_model_that_may_have_thought_is_booked_with_its_whole_hold(claude: Gateway) -> None:
    publish(claude, provider_model="eu.anthropic.claude-opus-9-v1:0")
    grant = converse(claude, "converse-stream")

    booked = settled(claude, grant, text("abc"), complete=False)

    assert (booked.quality, booked.amount_nusd) == ("upper_bound", grant.meter.hold_nusd)


def test_an_invocation_is_booked_by_its_headers(claude: Gateway) -> None:
    names = {"input": "10", "output": "20", "cache-read-input": "1000"}
    headers = {f"x-amzn-bedrock-{name}-token-count": count for name, count in names.items()}

    booked = settled(claude, invoke(claude), b'{"content":[', headers=headers, complete=False)

    assert (booked.quality, booked.amount_nusd) == ("exact", 10 * 3000 + 1000 * 300 + 20 * 15_000)


def test_an_invocations_stream_that_breaks_off_costs_its_known_input_and_what_was_sent(claude: Gateway) -> None:
    begun = chunk("message_start", message={"model": "claude", "usage": {"input_tokens": 10, "output_tokens": 1}})
    block = chunk("content_block_start", index=0, content_block={"type": "text", "text": ""})
    said = chunk("content_block_delta", index=0, delta={"type": "text_delta", "text": "abc"})

    booked = settled(claude, invoke(claude, "invoke-with-response-stream"), begun + block + said, complete=False)

    assert (booked.quality, booked.input_tokens, booked.output_tokens) == ("partial", 10, 19)
    assert booked.amount_nusd == 10 * 3000 + 19 * 15_000


def test_an_estimate_names_the_path_of_the_call(claude: Gateway) -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "Hello there"}]}]}
    question = json.dumps({"path": "/model/mini/converse-stream", "body": body}).encode()

    told = asked_estimate(claude.admission, claude.caller(), question, "openai_chat")

    assert (told.admitted, told.provider_model, told.max_tokens) == (True, SONNET, 1024)
