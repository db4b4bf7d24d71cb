"""A call in Gemini's words through the whole core: its key in the query, its thinking held, settled to the token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.errors import InsufficientQuota, InvalidApiKey
from kong_plugins.llm.estimates import asked_estimate
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle
from kong_plugins.llm.prices import Price
from kong_plugins.llm.release import Model
from tests.llm.cast import PROVIDER_KEY, deployment
from tests.llm.gateway import BUDGET, Gateway, answer, finished

PRICE = Price(
    version="2026-11",
    input_nusd=300_000_000,
    cache_read_nusd=75_000_000,
    cache_write_nusd=300_000_000,
    output_nusd=2_500_000_000,
)
PATH = "/v1beta/models/mini:generateContent"
STREAM = "/v1beta/models/mini:streamGenerateContent?alt=sse"
UNTHOUGHT = {"thinkingBudget": 0}


@pytest.fixture
def gemini(gateway: Gateway) -> Gateway:
    """A gateway that serves the cast's model at Google, to a team with a large monthly budget."""
    publish(gateway)
    gateway.set_cap(10**12)
    return gateway


def publish(gateway: Gateway, provider_model: str = "gemini-2.5-flash") -> None:
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    serving = deployment(protocol="gemini", price=PRICE, provider_model=provider_model, base_url=base_url)
    model = Model(
        name="mini",
        context_window_tokens=1_048_576,
        max_output_tokens=65_536,
        default_output_tokens=1024,
        deployments=(serving.id,),
    )
    gateway.publish(deployments=(serving,), models=(model,), budgets=(BUDGET,))


def body(text: str = "Hello there", **config: Any) -> bytes:
    return json.dumps({"contents": [{"parts": [{"text": text}]}], "generationConfig": config}).encode()


def admit(gateway: Gateway, asked_at: str = PATH, **config: Any) -> Grant:
    return gateway.admission.admit(gateway.caller(), body(**config), "gemini", asked_at=asked_at)


def chunk(text: str, *, total: int, **more: Any) -> bytes:
    usage = {"promptTokenCount": 10, "totalTokenCount": total}
    candidate = {"content": {"parts": [{"text": text}]}, **more}
    return json.dumps({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}).encode()


def test_the_call_goes_to_the_models_path_with_the_granted_maximum_and_googles_key(gemini: Gateway) -> None:
    table: dict[str, Any] = admit(gemini, f"{STREAM}&key=k", maxOutputTokens=100_000).table()

    assert table["path"] == "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    assert table["query"] == "alt=sse"
    assert table["set_headers"]["x-goog-api-key"] == PROVIDER_KEY
    [[_, _, replacement]] = table["splices"]
    assert json.loads(replacement) == {"maxOutputTokens": 65_536}
    assert table["strip_usage_chunk"] is False


@pytest.mark.parametrize(
    ("provider_model", "thinking", "more_tokens"),
    [
        ("gemini-2.5-flash", {}, 24_576),
        ("gemini-2.5-flash-lite", {"thinkingBudget": -1}, 24_576),
        ("gemini-2.5-pro", {"includeThoughts": True}, 32_768),
        ("gemini-3-pro-preview", {"thinkingLevel": "low"}, 65_536),
        ("gemini-2.0-flash-001", {}, 0),
        ("gemini-2.0-flash-thinking-exp", {}, 65_536),
        ("gemini-2.5-flash", {"thinkingBudget": 2000}, 2000),
        ("gemini-2.5-flash", UNTHOUGHT, 0),
    ],
)
def test_thinking_that_may_be_billed_beside_the_maximum_is_held(
    gemini: Gateway, provider_model: str, thinking: dict[str, object], more_tokens: int
) -> None:
    publish(gemini, provider_model)

    meter = admit(gemini, maxOutputTokens=100, candidateCount=2, thinkingConfig=thinking).meter

    assert meter.hold_nusd == meter.terms.input_bound_tokens * 300 + 2 * (100 + more_tokens) * 2500


def test_what_a_budget_has_left_shortens_the_answer_but_never_the_thinking(gemini: Gateway) -> None:
    thinking = {"thinkingBudget": 1000}
    whole = admit(gemini, maxOutputTokens=5000, thinkingConfig=thinking)
    settle(gemini.store, finished(whole, answer=answer(chunk("", total=10))))
    input_nusd, spent_nusd = whole.meter.terms.input_bound_tokens * 300, 3000
    gemini.set_cap(spent_nusd + input_nusd + 4000 * 2500, version=2)

    shortened = admit(gemini, maxOutputTokens=5000, thinkingConfig=thinking)

    assert shortened.meter.terms.max_tokens == 3000
    assert shortened.meter.hold_nusd == input_nusd + 4000 * 2500
    settle(gemini.store, finished(shortened, answer=answer(chunk("", total=10))))
    gemini.set_cap(2 * spent_nusd + input_nusd + 2255 * 2500, version=3)
    with pytest.raises(InsufficientQuota):
        admit(gemini, maxOutputTokens=5000, thinkingConfig=thinking)


def test_a_stream_that_breaks_off_costs_its_known_input_and_what_it_may_have_said(gemini: Gateway) -> None:
    sent = b"data: " + chunk("abc", total=11) + b"\r\n\r\n"

    for thinking, output_tokens in (({"thinkingBudget": 2000}, 2100), (UNTHOUGHT, 3 + 16)):
        grant = admit(gemini, STREAM, maxOutputTokens=100, thinkingConfig=thinking)
        settle(gemini.store, finished(grant, answer=answer(sent, stream=True, complete=False)))
        [booked] = gemini.events()
        assert (booked.quality, booked.input_tokens, booked.output_tokens) == ("partial", 10, output_tokens)
        assert booked.amount_nusd == 10 * 300 + output_tokens * 2500


def test_pictures_hold_the_whole_context_window(gemini: Gateway) -> None:
    picture = {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "iVBO"}}]}]}

    grant = gemini.admission.admit(gemini.caller(), json.dumps(picture).encode(), "gemini", asked_at=PATH)

    assert grant.meter.terms.input_bound_tokens == 1_048_576


def test_the_key_may_stand_in_the_query_once(gemini: Gateway) -> None:
    known = gemini.authenticator.authenticate({}, f"alt=sse&key={gemini.key}")

    assert known.principal.key == gemini.key_record.id
    assert gemini.authenticator.authenticate({"x-goog-api-key": [gemini.key]}, f"key={gemini.key}") == known
    for query in (f"key={gemini.key}&key={gemini.key}", "key=other", "key="):
        with pytest.raises(InvalidApiKey):
            gemini.authenticator.authenticate({"x-goog-api-key": [gemini.key]}, query)


def test_an_estimate_names_the_path_with_the_model(gemini: Gateway) -> None:
    question = json.dumps({"path": PATH, "body": json.loads(body(maxOutputTokens=40))}).encode()

    told = asked_estimate(gemini.admission, gemini.caller(), question, "openai_chat")

    assert (told.admitted, told.provider_model, told.max_tokens) == (True, "gemini-2.5-flash", 40)
    assert told.hold_nusd == admit(gemini, maxOutputTokens=40).meter.hold_nusd
