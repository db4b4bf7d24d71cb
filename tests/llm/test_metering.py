"""What did it cost: every end that a call can come to is settled once, and never for nothing if it was billed."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
import pytest

from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle, settlement_of
from kong_plugins.llm.prices import Price, Variant
from kong_plugins.llm.release import Limit, Scope
from tests.llm.cast import PRICE, deployment
from tests.llm.gateway import BUDGET, Gateway, answer, completion, finished

TEAM = Scope(kind="team", subject=None)
CHUNK = b'data: {"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'


@pytest.fixture
def budget(gateway: Gateway) -> Gateway:
    """A gateway whose team has a large monthly budget."""
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(10**12)
    return gateway


def spent(gateway: Gateway) -> tuple[int, int]:
    """What the team's budget has spent, and what it still holds."""
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", gateway.set_cap(10**12, version=2))
    assert state is not None
    return state.spent, state.held


def settled(gateway: Gateway, grant: Grant, data: bytes = b"", **changes: Any) -> UsageEvent:
    settle(gateway.store, finished(grant, data, **changes))
    [event] = gateway.events()
    return event


def test_an_answer_is_booked_at_the_providers_own_count(budget: Gateway) -> None:
    grant = budget.admit(max_tokens=50)

    event = settled(budget, grant, completion(prompt_tokens=9, completion_tokens=20))

    assert (event.kind, event.outcome, event.quality, event.http_status) == ("posted", "completed", "exact", 200)
    assert (event.input_tokens, event.output_tokens) == (9, 20)
    assert event.amount_nusd == 9 * 150 + 20 * 600
    assert spent(budget) == (event.amount_nusd, 0)
    assert (event.id, event.request_id) == (f"{grant.meter.facts.request_id}:1", grant.meter.facts.request_id)
    assert (event.hold_nusd, event.granted_max_tokens) == (grant.meter.hold_nusd, 50)
    assert event.response_model == "gpt-4o-mini-2024-07-18"
    assert (event.latency_ms, event.first_token_ms) == (120, 40)


def test_the_shadows_that_would_have_refused_a_call_stand_in_its_event(gateway: Gateway) -> None:
    shadow = Limit(id="shadow", scope=TEAM, unit="tokens", amount=1, window_ms=60_000, shadow=True)
    gateway.publish(limits=(shadow,))

    event = settled(gateway, gateway.admit(), completion())

    assert event.shadow_refusals == ("team limit of tokens per minute",)


def test_a_call_that_is_reported_twice_is_booked_once(budget: Gateway) -> None:
    grant = budget.admit()
    settled(budget, grant, completion())

    settle(budget.store, finished(grant, completion()))

    assert budget.events() == []


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"applied": False, "connected": False, "source": "exit", "status": 503}, "not_sent"),
        ({"connected": False, "source": "error", "status": 502}, "not_sent"),
        ({"status": 429}, "provider_error"),
        ({"status": 500}, "provider_error"),
        ({"status": 302}, "provider_error"),
    ],
)
def test_what_the_provider_did_not_do_is_given_back(budget: Gateway, changes: dict[str, Any], outcome: str) -> None:
    event = settled(budget, budget.admit(), b'{"error":{}}', **changes)

    assert (event.kind, event.outcome, event.amount_nusd) == ("voided", outcome, 0)
    assert event.http_status == changes.get("status", 200)
    assert spent(budget) == (0, 0)


@pytest.mark.parametrize("status", [502, 504])
def test_a_provider_that_fell_silent_after_the_request_may_have_billed_all_of_it(budget: Gateway, status: int) -> None:
    grant = budget.admit()

    event = settled(budget, grant, source="error", status=status)

    assert (event.kind, event.outcome, event.quality) == ("posted", "unanswered", "upper_bound")
    assert event.amount_nusd == grant.meter.hold_nusd
    assert spent(budget) == (grant.meter.hold_nusd, 0)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"usage":null}', b'{"usage":{"prompt_tokens":-5,"completion_tokens":1}}', b"<html>"]
)
def test_an_answer_without_usage_costs_its_whole_hold(budget: Gateway, data: bytes) -> None:
    grant = budget.admit(n=3)

    event = settled(budget, grant, data)

    assert (event.quality, event.amount_nusd) == ("upper_bound", grant.meter.hold_nusd)
    assert event.output_tokens == 3 * 1024
    assert event.input_tokens == grant.meter.terms.input_bound_tokens


def test_a_zero_that_the_provider_states_costs_nothing(budget: Gateway) -> None:
    event = settled(budget, budget.admit(), completion(0, 0))

    assert (event.kind, event.quality, event.amount_nusd) == ("posted", "exact", 0)


@pytest.mark.parametrize(("ended_at_deadline", "outcome"), [(False, "interrupted"), (True, "deadline")])
def test_a_stream_that_breaks_off_costs_what_was_sent_of_it(
    budget: Gateway, ended_at_deadline: bool, outcome: str
) -> None:
    grant = budget.admit(stream=True, max_tokens=400)

    event = settled(
        budget,
        grant,
        answer=answer(CHUNK * 15, stream=True, complete=False),
        ended_at_deadline=ended_at_deadline,
    )

    assert (event.quality, event.outcome) == ("partial", outcome)
    assert 15 <= event.output_tokens <= 15 * 5 + 16
    assert event.amount_nusd is not None
    assert 15 * 600 <= event.amount_nusd < grant.meter.hold_nusd / 2
    assert spent(budget) == (event.amount_nusd, 0)


def test_a_broken_stream_never_costs_more_than_its_hold(budget: Gateway) -> None:
    grant = budget.admit(stream=True, max_tokens=5)

    event = settled(budget, grant, answer=answer(CHUNK * 900, stream=True, complete=False))

    assert (event.quality, event.output_tokens, event.amount_nusd) == ("partial", 5, grant.meter.hold_nusd)


def test_a_model_whose_thinking_is_not_shown_costs_its_hold_when_its_stream_breaks_off(budget: Gateway) -> None:
    budget.publish(budgets=(BUDGET,), deployments=(deployment(provider_model="o3"),))
    grant = budget.admit(stream=True, max_tokens=400)

    event = settled(budget, grant, answer=answer(CHUNK * 15, stream=True, complete=False))

    assert (event.quality, event.amount_nusd) == ("upper_bound", grant.meter.hold_nusd)


@pytest.mark.parametrize("status", [499, 0])
def test_a_client_that_leaves_before_the_answer_does_not_dodge_the_cost(budget: Gateway, status: int) -> None:
    plain, streamed = budget.admit(), budget.admit(stream=True)

    whole = settled(budget, plain, status=status)
    begun = settled(budget, streamed, status=status)

    assert (whole.outcome, whole.quality, whole.amount_nusd) == ("abandoned", "upper_bound", plain.meter.hold_nusd)
    assert (begun.outcome, begun.quality, begun.output_tokens) == ("abandoned", "partial", 16)
    assert begun.amount_nusd is not None
    assert 0 < begun.amount_nusd < streamed.meter.hold_nusd


def test_a_call_without_a_price_is_counted_and_its_amount_is_unknown(gateway: Gateway) -> None:
    gateway.publish(deployments=(deployment(price=None),))

    event = settled(gateway, gateway.admit(), completion())

    assert (event.quality, event.amount_nusd, event.output_tokens) == ("unpriced", None, 20)


def test_a_truth_that_comes_after_the_lease_posts_the_difference(budget: Gateway) -> None:
    budget.admission = type(budget.admission)(
        budget.store, msgspec.structs.replace(budget.settings, deadline_ms=1, lease_grace_ms=1)
    )
    grant = budget.admit()
    while budget.store.expire_due(budget.organization) == 0:
        pass
    [expired] = budget.events()

    adjusted = settled(budget, grant, completion())

    assert (expired.kind, expired.amount_nusd) == ("expired", grant.meter.hold_nusd)
    assert adjusted.kind == "adjusted"
    assert adjusted.amount_nusd == 9 * 150 + 20 * 600 - grant.meter.hold_nusd
    assert spent(budget) == (9 * 150 + 20 * 600, 0)


def test_a_store_that_is_away_leaves_the_hold_to_its_lease(budget: Gateway) -> None:
    away = type(budget.store).from_url("redis://127.0.0.1:1", timeout_ms=50)

    with pytest.raises(StoreUnavailable):
        settle(away, finished(budget.admit(), completion()))

    assert budget.store.open_holds(budget.organization) == 1
    away.close()


FLAT: Final[dict[str, Any]] = {
    "input_nusd": 1_000_000,
    "cache_read_nusd": 0,
    "cache_write_nusd": 0,
    "output_nusd": 2_000_000,
}
TIERED = Price(
    version="tiered",
    variants=(
        Variant(service_tier="priority", **{name: 3 * rate for name, rate in FLAT.items()}),
        Variant(service_tier="flex", **{name: rate // 2 for name, rate in FLAT.items()}),
    ),
    **FLAT,
)


@pytest.mark.parametrize(
    ("tiers", "amount_nusd", "tier"),
    [
        (("standard",), 9 + 2 * 20, "standard"),
        (("flex",), 5 + 20, "flex"),
        # The answer does not say which of them has served it.
        (("standard", "priority"), 3 * (9 + 2 * 20), "priority"),
    ],
)
def test_a_call_costs_what_its_tier_does_or_the_dearest_that_may_have_served_it(
    gateway: Gateway, tiers: tuple[str, ...], amount_nusd: int, tier: str
) -> None:
    grant = gateway.admit()
    terms = msgspec.structs.replace(grant.meter.terms, price=TIERED, service_tiers=tiers)
    meter = msgspec.structs.replace(grant.meter, terms=terms)

    settlement = settlement_of(
        msgspec.structs.replace(finished(grant, completion(prompt_tokens=9, completion_tokens=20)), meter=meter)
    )

    assert (settlement.amount_nusd, settlement.service_tier) == (amount_nusd, tier)


def test_without_a_price_the_tier_is_recorded_only_where_it_is_known(gateway: Gateway) -> None:
    grant = gateway.admit()

    for tiers, tier in [(("priority",), "priority"), (("standard", "priority"), None)]:
        terms = msgspec.structs.replace(grant.meter.terms, price=None, service_tiers=tiers)
        meter = msgspec.structs.replace(grant.meter, terms=terms)
        settlement = settlement_of(msgspec.structs.replace(finished(grant, completion()), meter=meter))
        assert (settlement.amount_nusd, settlement.quality, settlement.service_tier) == (None, "unpriced", tier)


def test_of_an_answer_that_cannot_be_read_the_pieces_are_those_it_can_be_billed_for(gateway: Gateway) -> None:
    grant = gateway.admit()
    price = msgspec.structs.replace(PRICE, unit_nusd={"web_search": 10**16})
    terms = msgspec.structs.replace(grant.meter.terms, price=price, units={"web_search": 3})
    hold_nusd = terms.cost_nusd or 0
    meter = msgspec.structs.replace(grant.meter, terms=terms, hold_nusd=hold_nusd)

    settlement = settlement_of(msgspec.structs.replace(finished(grant, b"?"), meter=meter))

    assert settlement.usage is not None
    assert (settlement.usage.units, settlement.quality) == ({"web_search": 3}, "upper_bound")
    assert settlement.amount_nusd == hold_nusd > 3 * 10**10


@pytest.mark.parametrize(
    ("price", "amount_nusd", "quality"),
    [(TIERED, 3 * (9 + 2 * 20), "exact"), (Price(version="flat", **FLAT), 1_000, "upper_bound")],
)
def test_a_call_that_was_served_at_a_dearer_tier_than_it_asked_for_costs_that_or_all_that_was_held(
    gateway: Gateway, price: Price, amount_nusd: int, quality: str
) -> None:
    grant = gateway.admit()
    terms = msgspec.structs.replace(grant.meter.terms, price=price)
    meter = msgspec.structs.replace(grant.meter, terms=terms, hold_nusd=1_000)
    answered = completion(prompt_tokens=9, completion_tokens=20).replace(b"{", b'{"service_tier": "priority", ', 1)

    settlement = settlement_of(msgspec.structs.replace(finished(grant, answered), meter=meter))

    assert (settlement.amount_nusd, settlement.quality) == (amount_nusd, quality)
    assert settlement.service_tier == "priority"


def test_what_a_chat_has_written_into_a_cache_is_billed_for_as_long_as_was_asked(budget: Gateway) -> None:
    kept = {"type": "text", "text": "word " * 500, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    grant = budget.admit(messages=[{"role": "user", "content": [kept]}])
    usage = {"prompt_tokens": 500, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 500}}

    event = settled(budget, grant, json.dumps({"choices": [{}], "usage": usage}).encode())

    assert (event.cache_write_1h_tokens, event.quality) == (500, "partial")
    assert event.amount_nusd == 500 * 2 * 150 < grant.meter.hold_nusd
