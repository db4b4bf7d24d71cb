"""A call in Anthropic's words through the whole core: admitted, held at the dearest, and settled to the token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.errors import InsufficientQuota, InvalidRequest, RateLimitExceeded
from kong_plugins.llm.estimates import asked_estimate
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle
from kong_plugins.llm.prices import Price
from kong_plugins.llm.release import Limit, Model, Scope
from tests.llm.cast import PROVIDER_KEY, deployment
from tests.llm.gateway import BUDGET, Gateway, answer, finished

PRICE = Price(
    version="2026-11",
    input_nusd=3_000_000_000,
    cache_read_nusd=300_000_000,
    cache_write_nusd=3_750_000_000,
    cache_write_1h_nusd=6_000_000_000,
    output_nusd=15_000_000_000,
)
HOUR = {"type": "ephemeral", "ttl": "1h"}
THINKING = {"type": "enabled", "budget_tokens": 2000}
LIMIT = Limit(id="l1", scope=Scope(kind="team", subject=None), unit="requests", amount=1, window_ms=60_000)


@pytest.fixture
def claude(gateway: Gateway) -> Gateway:
    """A gateway that serves the cast's model at Anthropic, to a team with a large monthly budget."""
    publish(gateway)
    gateway.set_cap(10**12)
    return gateway


def publish(
    gateway: Gateway, *, provider_model: str = "claude-sonnet-4-5", max_output_tokens: int = 16_384, **changes: Any
) -> None:
    serving = deployment(protocol="anthropic_messages", price=PRICE, provider_model=provider_model)
    model = Model(
        name="mini",
        context_window_tokens=200_000,
        max_output_tokens=max_output_tokens,
        default_output_tokens=1024,
        deployments=(serving.id,),
    )
    gateway.publish(**({"deployments": (serving,), "models": (model,), "budgets": (BUDGET,)} | changes))


def body(**members: Any) -> bytes:
    message = {"role": "user", "content": "Hello there"}
    return json.dumps({"model": "mini", "max_tokens": 100, "messages": [message]} | members).encode()


def admit(gateway: Gateway, **members: Any) -> Grant:
    return gateway.admission.admit(gateway.caller(), body(**members), "anthropic_messages")


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


def begun(**usage: int) -> bytes:
    told = {"input_tokens": 10, "output_tokens": 1} | usage
    return event("message_start", message={"model": "claude-sonnet-4-5-20250929", "usage": told}) + event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )


def text(said: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": said})


def settled(gateway: Gateway, grant: Grant, data: bytes, *, stream: bool = False, complete: bool = True) -> UsageEvent:
    settle(gateway.store, finished(grant, answer=answer(data, stream=stream, complete=complete)))
    [booked] = gateway.events()
    return booked


def message(**usage: Any) -> bytes:
    told = {"input_tokens": 10, "output_tokens": 20} | usage
    return json.dumps({"model": "claude-sonnet-4-5-20250929", "content": [], "usage": told}).encode()


def test_the_provider_gets_its_key_where_it_looks_for_it(claude: Gateway) -> None:
    table = admit(claude).table()

    assert table["path"] == "/v1/messages"
    assert table["set_headers"] == {
        "x-api-key": PROVIDER_KEY,
        "accept-encoding": "identity",
        "x-client-request-id": table["id"],
    }
    assert table["strip_usage_chunk"] is False


def test_a_stream_keeps_all_its_events(claude: Gateway) -> None:
    assert admit(claude, stream=True).table()["strip_usage_chunk"] is False


def test_what_the_cache_reads_and_writes_is_booked_at_its_own_prices(claude: Gateway) -> None:
    split = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 50}

    booked = settled(
        claude,
        admit(claude, cache_control=HOUR),
        message(cache_read_input_tokens=1000, cache_creation_input_tokens=150, cache_creation=split),
    )

    assert booked.quality == "exact"
    assert (booked.input_tokens, booked.cache_read_tokens, booked.output_tokens) == (1160, 1000, 20)
    assert (booked.cache_write_tokens, booked.cache_write_1h_tokens) == (150, 50)
    assert booked.amount_nusd == 10 * 3000 + 1000 * 300 + 100 * 3750 + 50 * 6000 + 20 * 15_000


def test_a_prompt_that_may_be_kept_for_an_hour_is_held_at_that_price(claude: Gateway) -> None:
    plain, hour = admit(claude), admit(claude, cache_control=HOUR)

    assert plain.meter.hold_nusd == plain.meter.terms.input_bound_tokens * 3750 + 100 * 15_000
    assert hour.meter.hold_nusd == hour.meter.terms.input_bound_tokens * 6000 + 100 * 15_000


def test_writes_of_unknown_length_are_booked_at_the_longest_that_was_asked_for(claude: Gateway) -> None:
    short = settled(claude, admit(claude), message(cache_creation_input_tokens=100))
    long = settled(claude, admit(claude, cache_control=HOUR), message(cache_creation_input_tokens=100))

    assert (short.quality, short.amount_nusd) == ("exact", 10 * 3000 + 100 * 3750 + 20 * 15_000)
    assert (long.quality, long.amount_nusd) == ("partial", 10 * 3000 + 100 * 6000 + 20 * 15_000)
    assert long.cache_write_1h_tokens == 100


def test_a_stream_that_breaks_off_costs_its_known_input_and_what_was_sent(claude: Gateway) -> None:
    booked = settled(
        claude, admit(claude, stream=True), begun(cache_read_input_tokens=5) + text("abc"), stream=True, complete=False
    )

    assert (booked.quality, booked.outcome) == ("partial", "interrupted")
    assert (booked.input_tokens, booked.output_tokens) == (15, 3 + 16)
    assert booked.amount_nusd == 10 * 3000 + 5 * 300 + 19 * 15_000


@pytest.mark.parametrize(
    ("members", "provider_model"),
    [({"thinking": {"type": "adaptive"}}, "claude-sonnet-4-5"), ({}, "claude-opus-9")],
    ids=["asked-for", "of-its-own-accord"],
)
def test_a_model_that_may_have_thought_is_booked_with_all_that_it_may_have_said(
    claude: Gateway, members: dict[str, Any], provider_model: str
) -> None:
    publish(claude, provider_model=provider_model)

    booked = settled(claude, admit(claude, stream=True, **members), begun() + text("abc"), stream=True, complete=False)

    assert (booked.quality, booked.input_tokens, booked.output_tokens) == ("partial", 10, 100)
    assert booked.amount_nusd == 10 * 3000 + 100 * 15_000


def test_a_model_that_was_told_not_to_think_is_booked_with_what_it_said(claude: Gateway) -> None:
    publish(claude, provider_model="claude-opus-9")

    grant = admit(claude, stream=True, thinking={"type": "disabled"})

    assert settled(claude, grant, begun() + text("abc"), stream=True, complete=False).output_tokens == 19


def test_a_model_without_a_price_is_counted_without_an_amount(gateway: Gateway) -> None:
    publish(gateway, budgets=(), deployments=(deployment(protocol="anthropic_messages", price=None),))

    booked = settled(gateway, admit(gateway, stream=True), begun() + text("abc"), stream=True, complete=False)

    assert (booked.quality, booked.amount_nusd, booked.input_tokens) == ("unpriced", None, 10)


def test_what_a_budget_has_left_shortens_the_answer_but_never_the_thinking(claude: Gateway) -> None:
    whole = admit(claude, max_tokens=8000, thinking=THINKING)
    settled(claude, whole, message(output_tokens=0, input_tokens=0))
    input_nusd = whole.meter.terms.input_bound_tokens * 3750
    claude.set_cap(input_nusd + 5000 * 15_000, version=2)

    shortened = admit(claude, max_tokens=8000, thinking=THINKING)
    assert 2256 <= shortened.meter.terms.max_tokens < 8000
    settled(claude, shortened, message(output_tokens=0, input_tokens=0))

    claude.set_cap(input_nusd + 2255 * 15_000, version=3)
    with pytest.raises(InsufficientQuota):
        admit(claude, max_tokens=8000, thinking=THINKING)
    assert admit(claude, max_tokens=8000).meter.terms.max_tokens >= 256


def test_a_model_that_may_not_say_that_much_cannot_think_that_much(gateway: Gateway) -> None:
    publish(gateway, budgets=(), max_output_tokens=2255)

    with pytest.raises(InvalidRequest) as caught:
        admit(gateway, max_tokens=8000, thinking=THINKING)

    assert caught.value.param == "thinking.budget_tokens"
    assert admit(gateway, max_tokens=2100, thinking=THINKING).meter.terms.max_tokens == 2100


def test_a_limit_is_told_in_anthropics_own_headers(gateway: Gateway) -> None:
    publish(gateway, budgets=(), limits=(LIMIT,))
    headers = admit(gateway).response_headers

    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    with pytest.raises(RateLimitExceeded) as caught:
        admit(gateway)
    assert caught.value.headers()["anthropic-ratelimit-requests-limit"] == "1"
    assert caught.value.headers()["anthropic-ratelimit-requests-reset"].endswith("Z")


@pytest.mark.parametrize("beta", ["context-1m-2025-08-07", "\udcff"])
def test_a_beta_in_the_header_is_judged_too(claude: Gateway, beta: str) -> None:
    caller = claude.caller(anthropic_beta=f"prompt-caching-2024-07-31, {beta},")

    assert caller.betas[0] == "prompt-caching-2024-07-31"
    assert claude.caller(x_anthropic_beta=beta).betas == caller.betas[1:]
    with pytest.raises(InvalidRequest) as caught:
        claude.admission.admit(caller, body(), "anthropic_messages")

    assert caught.value.param == "anthropic-beta"
    assert caught.value.message.isprintable()


def test_an_estimate_names_the_path_of_the_call(claude: Gateway) -> None:
    question = json.dumps({"path": "/v1/messages", "body": json.loads(body(cache_control=HOUR))}).encode()

    told = asked_estimate(claude.admission, claude.caller(), question, "openai_chat")

    assert (told.admitted, told.provider_model, told.max_tokens) == (True, "claude-sonnet-4-5", 100)
    assert told.hold_nusd == admit(claude, cache_control=HOUR).meter.hold_nusd
