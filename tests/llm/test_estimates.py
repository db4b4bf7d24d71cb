"""Ask before you spend: an estimate says what the very call would be told, and nothing is held, counted or written."""

from __future__ import annotations

import json
import time
from datetime import datetime

import msgspec
import pytest
import redis

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import InvalidRequest, PolicyUnavailable, RateLimitExceeded, RequestTooLarge
from kong_plugins.llm.estimates import Estimate, RefusedBy, asked_estimate, estimate
from kong_plugins.llm.release import Budget, Limit, Scope
from kong_plugins.llm.store import Store
from tests.llm.cast import deployment
from tests.llm.gateway import BUDGET, Gateway, body
from tests.llm.proxy import LossyProxy

TEAM = Scope(kind="team", subject=None)
ORGANIZATION = Scope(kind="organization", subject=None)
RPM = Limit(id="rpm", scope=TEAM, unit="requests", amount=1, window_ms=60_000)


def estimated(gateway: Gateway, **members: object) -> Estimate:
    return estimate(gateway.admission, gateway.caller(), body(**members), "openai_chat")


def set_total(gateway: Gateway, budget: Budget, cap_nusd: int) -> None:
    """Give a budget of the organization, which never ends, its cap."""
    organization = gateway.organization
    gateway.store.set_cap(
        organization, budget.id, organization, "total", cap=cap_nusd, version=1, thresholds_percent=()
    )


def refusal(gateway: Gateway, **members: object) -> RefusedBy:
    answer = estimated(gateway, **members)
    assert not answer.admitted
    assert answer.refusal is not None
    return answer.refusal


def contents(gateway: Gateway, client: redis.Redis) -> dict[bytes, bytes | None]:
    names = sorted(client.scan_iter(f"bursar:{{{gateway.organization}}}:*"))
    return {name: client.dump(name) for name in names}


def test_an_estimate_is_what_the_call_is_then_granted(gateway: Gateway, redis_address: str) -> None:
    gateway.publish(budgets=(BUDGET,), limits=(RPM,))
    gateway.set_cap(10**9)
    with redis.Redis.from_url(redis_address) as client:
        before = contents(gateway, client)
        answer = estimated(gateway, max_tokens=400)
        assert contents(gateway, client) == before

    granted = gateway.admit(max_tokens=400).meter
    assert answer == Estimate(
        admitted=True,
        model="mini",
        provider="openai",
        provider_model="gpt-4o-mini",
        deployment="mini-at-openai",
        input_bound_tokens=granted.terms.input_bound_tokens,
        max_tokens=400,
        choices=1,
        hold_nusd=granted.hold_nusd,
        hold_usd=answer.hold_usd,
    )
    assert answer.hold_usd is not None
    assert round(float(answer.hold_usd) * 10**9) == granted.hold_nusd


def test_an_estimate_under_a_nearly_used_up_budget_is_the_shorter_answer_that_it_buys(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(200_000)

    answer = estimated(gateway, max_tokens=400)

    granted = gateway.admit(max_tokens=400).meter
    assert (answer.max_tokens, answer.hold_nusd) == (granted.terms.max_tokens, granted.hold_nusd)
    assert answer.is_partial
    assert answer.max_tokens is not None
    assert answer.max_tokens < 400


@pytest.mark.parametrize("shared_is_shorter", [True, False])
def test_how_much_a_budget_of_the_organization_leaves_of_an_answer_is_not_told(
    gateway: Gateway, shared_is_shorter: bool
) -> None:
    shared = Budget(id="shared", scope=ORGANIZATION, unit="nusd", period="total")
    gateway.publish(budgets=(BUDGET, shared))
    cap_nusd, own_cap_nusd = (1_234_567, 10**9) if shared_is_shorter else (10**9, 1_234_567)
    gateway.set_cap(own_cap_nusd)
    set_total(gateway, shared, cap_nusd)

    answer = estimated(gateway, max_tokens=16_000)

    assert (answer.admitted, answer.is_partial) == (True, True)
    assert (answer.max_tokens, answer.hold_nusd, answer.hold_usd) == (None, None, None)
    assert gateway.admit(max_tokens=16_000).meter.hold_nusd == 1_234_567


def test_a_budget_of_the_organization_that_covers_the_call_hides_nothing(gateway: Gateway) -> None:
    shared = Budget(id="shared", scope=ORGANIZATION, unit="nusd", period="total")
    gateway.publish(budgets=(shared,))
    set_total(gateway, shared, 10**9)

    answer = estimated(gateway, max_tokens=400)

    assert (answer.admitted, answer.is_partial, answer.max_tokens) == (True, False, 400)
    assert answer.hold_nusd == gateway.admit(max_tokens=400).meter.hold_nusd


def test_a_soft_budget_of_the_organization_shortens_nothing_and_hides_nothing(gateway: Gateway) -> None:
    shared = Budget(id="shared", scope=ORGANIZATION, unit="nusd", period="total", hard=False)
    gateway.publish(budgets=(BUDGET, shared))
    gateway.set_cap(200_000)
    set_total(gateway, shared, 1)

    answer = estimated(gateway, max_tokens=400)

    assert answer.is_partial
    assert answer.hold_nusd is not None


def test_asking_a_thousand_times_uses_nothing_up(gateway: Gateway) -> None:
    gateway.publish(limits=(RPM,))

    assert all(estimated(gateway).admitted for _ in range(100))
    gateway.admit()
    with pytest.raises(RateLimitExceeded):
        gateway.admit()


def test_a_limit_that_is_reached_is_named_with_the_instant_at_which_it_fits(gateway: Gateway) -> None:
    gateway.publish(limits=(RPM,))
    gateway.admit()

    refused = refusal(gateway)

    assert (refused.code, refused.status) == ("rate_limit_exceeded", 429)
    assert refused.scope == "team limit of requests per minute"
    assert refused.retry_after_ms is not None
    assert 50_000 < refused.retry_after_ms <= 61_000
    assert refused.earliest_at is not None
    assert time.time() + 40 < datetime.fromisoformat(refused.earliest_at).timestamp() < time.time() + 62


def test_a_used_up_budget_is_named_with_the_end_of_its_period_and_without_its_cap(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(70_000)

    refused = refusal(gateway)

    assert (refused.code, refused.scope, refused.retry_after_ms) == ("insufficient_quota", "team monthly budget", None)
    assert refused.earliest_at is not None
    assert datetime.fromisoformat(refused.earliest_at).timestamp() > time.time()
    assert "70000" not in msgspec.json.encode(refused).decode()


def test_a_budget_that_never_ends_has_no_instant_at_which_it_fits(gateway: Gateway) -> None:
    total = Budget(id="total", scope=TEAM, unit="nusd", period="total")
    gateway.publish(budgets=(total,))
    gateway.store.set_cap(gateway.organization, "total", "search", "total", cap=0, version=1, thresholds_percent=())

    assert refusal(gateway).earliest_at is None


def test_a_call_that_is_larger_than_its_limit_never_fits(gateway: Gateway) -> None:
    tokens = Limit(id="tpm", scope=TEAM, unit="tokens", amount=100, window_ms=60_000)
    gateway.publish(limits=(tokens,))

    refused = refusal(gateway, max_tokens=400)

    assert (refused.code, refused.earliest_at) == ("request_too_large", None)


@pytest.mark.parametrize(("model", "code"), [("secret", "model_not_allowed"), ("nope", "model_not_found")])
def test_a_model_that_is_out_of_reach_is_an_answer_too(gateway: Gateway, model: str, code: str) -> None:
    assert refusal(gateway, model=model).code == code


def test_without_a_price_nothing_is_held_and_no_amount_is_made_up(gateway: Gateway) -> None:
    gateway.publish(deployments=(deployment(price=None),))

    answer = estimated(gateway)

    assert answer.admitted
    assert (answer.hold_nusd, answer.hold_usd) == (None, None)


def test_what_cannot_be_decided_is_not_estimated(gateway: Gateway, redis_address: str) -> None:
    with LossyProxy(redis_address) as network:
        store = Store.from_url(network.url, timeout_ms=2000)
        admission = Admission(store, gateway.settings)
        estimate(admission, gateway.caller(), body(), "openai_chat")
        network.answers_to_lose = 1000
        with pytest.raises(PolicyUnavailable):
            estimate(admission, gateway.caller(), body(), "openai_chat")
        store.close()
    assert gateway.events() == []


def test_a_body_that_is_too_large_for_the_node_is_told_so_as_it_is(gateway: Gateway) -> None:
    small = Admission(gateway.store, msgspec.structs.replace(gateway.settings, max_request_bytes=50))

    with pytest.raises(RequestTooLarge):
        estimate(small, gateway.caller(), body(), "openai_chat")


@pytest.mark.parametrize(
    "question",
    [
        body(max_tokens=50),
        json.dumps({"path": "/v1/chat/completions", "body": json.loads(body(max_tokens=50))}).encode(),
        b'{ "body" : ' + body(max_tokens=50) + b', "path":"/v1/chat/completions" }',
    ],
    ids=["alone", "wrapped", "turned"],
)
def test_a_call_is_asked_about_by_its_body_alone_or_with_its_path(gateway: Gateway, question: bytes) -> None:
    answer = asked_estimate(gateway.admission, gateway.caller(), question, "openai_chat")

    assert (answer.admitted, answer.max_tokens) == (True, 50)


@pytest.mark.parametrize(
    ("question", "param"),
    [
        ({"body": {}}, "path"),
        ({"path": "/v1/files", "body": {}}, "path"),
        ({"path": ["/v1/chat/completions"], "body": {}}, "path"),
        ({"path": "/v1/chat/completions"}, "body"),
        ({"path": "/v1/chat/completions", "body": "{}"}, "body"),
        ({"path": "/v1/chat/completions", "body": {}, "model": "mini"}, "model"),
        ({"path": "/v1/chat/completions", "body": {}}, "model"),
    ],
)
def test_a_question_that_is_not_clear_is_refused(gateway: Gateway, question: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked_estimate(gateway.admission, gateway.caller(), json.dumps(question).encode(), "openai_chat")
    assert caught.value.param is None or param in (caught.value.param, "model")
