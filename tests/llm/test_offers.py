"""On which model: the first candidate that fits serves the call, and what passed the others over is written down."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from kong_plugins.llm.access_tokens import AccessTokens
from kong_plugins.llm.authorization import Authorizer
from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import ModelNotAllowed, RateLimitExceeded
from kong_plugins.llm.estimates import estimate
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.offers import Call, Offers
from kong_plugins.llm.prices import LaterPrice, Price, Variant
from kong_plugins.llm.release import Limit, Model, PolicyDocument, Scope, Team
from kong_plugins.llm.requests import ModelRequest
from kong_plugins.llm.routes import RoutingTable
from kong_plugins.llm.tokens import Prompt
from tests.llm.cast import CREDENTIAL_KEY, deployment
from tests.llm.gateway import BUDGET, Gateway, body
from tests.llm.waiters import end, grant_of, waiters_of

PAIR = ("at-main", "at-spare")
MAIN_RPM = Limit(
    id="main", scope=Scope(kind="team", subject=None, provider="main"), unit="requests", amount=1, window_ms=60_000
)
SPARE_SLOT = Limit(
    id="spare",
    scope=Scope(kind="team", subject=None, provider="spare"),
    unit="concurrency",
    amount=1,
    window_ms=60_000,
    queue_ms=60_000,
)
DEGRADING = msgspec.structs.replace(BUDGET, degrade_at_percent=80)


def model(name: str, *deployments: str, degrade_to: tuple[str, ...] = ()) -> Model:
    return Model(
        name=name,
        context_window_tokens=128_000,
        max_output_tokens=16_384,
        default_output_tokens=1024,
        deployments=deployments,
        degrade_to=degrade_to,
    )


def publish(gateway: Gateway, *, models: tuple[Model, ...], team: Team | None = None, **changes: Any) -> PolicyDocument:
    """A policy with these models, of which each deployment is at the provider that its id names, and tried in turn."""
    names = dict.fromkeys(name for each in models for name in each.deployments)
    deployments = tuple(
        deployment(id=name, provider=name.removeprefix("at-"), order=order) for order, name in enumerate(names)
    )
    teams = (team or Team(id="search", tier="normal"),)
    return gateway.publish(**({"models": models, "deployments": deployments, "teams": teams} | changes))


def two_deployments(gateway: Gateway, *limits: Limit) -> None:
    publish(gateway, models=(model("mini", *PAIR),), limits=limits)


def large_and_small(gateway: Gateway, **changes: Any) -> None:
    """A model that degrades to a smaller one."""
    models = (model("large", "at-large", degrade_to=("small",)), model("small", "at-small"))
    publish(gateway, models=models, **changes)


def admit_large(gateway: Gateway, **headers: str) -> Grant:
    return gateway.admission.admit(gateway.caller(**headers), body(model="large", max_tokens=400), "openai_chat")


def use(gateway: Gateway, percent: int) -> None:
    """Have so much of the team's budget held, and several calls' worth of it free."""
    period = gateway.set_cap(10**12)
    gateway.admit(model="small", max_tokens=16_000)
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    gateway.set_cap(state.held * 100 // percent, version=2)


# Several deployments of one model.


def test_the_first_deployment_that_fits_serves_the_call(gateway: Gateway) -> None:
    two_deployments(gateway, MAIN_RPM)

    facts = [gateway.admit().meter.facts for _ in range(3)]

    assert [each.deployment for each in facts] == ["at-main", "at-spare", "at-spare"]
    assert facts[0].candidates == ("at-main",)
    assert facts[1].candidates == ("at-main: team (provider main) limit of requests per minute", "at-spare")
    assert {each.degraded_from for each in facts} == {None}
    assert gateway.events() == [], "that a candidate was passed over is no refusal"


def test_a_call_that_none_can_serve_is_refused_once_with_every_reason(gateway: Gateway) -> None:
    spare_rpm = msgspec.structs.replace(
        MAIN_RPM, id="spare", scope=msgspec.structs.replace(MAIN_RPM.scope, provider="spare")
    )
    two_deployments(gateway, MAIN_RPM, spare_rpm)
    gateway.admit()
    gateway.admit()

    with pytest.raises(RateLimitExceeded) as caught:
        gateway.admit()

    assert caught.value.scope == "team (provider spare) limit of requests per minute"
    [refused] = gateway.events()
    assert refused.refusing_scope == caught.value.scope
    assert refused.candidates == ("at-main: team (provider main) limit of requests per minute", "at-spare")


def test_a_deployment_without_a_price_that_a_budget_needs_is_left_out(gateway: Gateway) -> None:
    unpriced, priced = deployment(id="at-main", price=None), deployment(id="at-spare")
    publish(gateway, models=(model("mini", *PAIR),), deployments=(unpriced, priced), budgets=(BUDGET,))
    gateway.set_cap(10**9)

    assert gateway.admit().meter.facts.candidates == ("at-spare",)

    publish(gateway, models=(model("mini", "at-main"),), deployments=(unpriced,), budgets=(BUDGET,))
    with pytest.raises(ModelNotAllowed, match="no price"):
        gateway.admit()


def test_a_call_waits_for_the_last_one_and_takes_the_first_that_becomes_free(gateway: Gateway) -> None:
    main_slot = msgspec.structs.replace(
        SPARE_SLOT, id="main", scope=msgspec.structs.replace(SPARE_SLOT.scope, provider="main")
    )
    two_deployments(gateway, main_slot, SPARE_SLOT)
    at_main, at_spare = gateway.admit(), gateway.admit()
    with waiters_of(gateway) as waiters:
        waiting = waiters.begin()

        end(gateway, at_main)

        facts = grant_of(waiting).meter.facts
        assert (facts.deployment, facts.candidates) == ("at-main", ("at-main",))
        assert facts.queued_ms is not None
        end(gateway, at_spare)


# Lesser models.


def test_below_its_percentage_a_budget_degrades_nobody(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 70)

    facts = admit_large(gateway).meter.facts

    assert (facts.request_model, facts.degraded_from, facts.candidates) == ("large", None, ("at-large",))


def test_from_its_percentage_on_a_budget_has_the_lesser_model_serve(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 80)

    grant = admit_large(gateway)

    facts = grant.meter.facts
    assert (facts.request_model, facts.degraded_from) == ("small", "large")
    assert facts.candidates == ("at-large: team monthly budget", "at-small")
    assert grant.response_headers["x-bursar-degraded-from"] == "large"
    assert grant.response_headers["x-bursar-model"] == "small/gpt-4o-mini"
    end(gateway, grant)
    [posted] = [event for event in gateway.events() if event.kind == "posted"]
    assert (posted.request_model, posted.degraded_from) == ("small", "large")
    assert posted.candidates == facts.candidates


def test_a_call_for_the_lesser_model_itself_uses_the_budget_up(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 90)

    assert gateway.admit(model="small", max_tokens=400).meter.facts.degraded_from is None


def test_between_several_lesser_deployments_the_percentage_passes_none_over(gateway: Gateway) -> None:
    models = (model("large", "at-large", degrade_to=("small",)), model("small", "at-small", "at-spare"))
    publish(gateway, models=models, budgets=(DEGRADING,))
    use(gateway, 80)

    assert admit_large(gateway).meter.facts.deployment == "at-small"


def test_without_a_lesser_model_the_percentage_refuses_nobody(gateway: Gateway) -> None:
    publish(gateway, models=(model("large", "at-large", "at-spare"), model("small", "at-small")), budgets=(DEGRADING,))
    use(gateway, 90)

    assert admit_large(gateway).meter.facts.deployment == "at-large"


def test_a_reached_limit_of_the_model_degrades_too(gateway: Gateway) -> None:
    scope = Scope(kind="team", subject=None, model="large")
    large_and_small(gateway, limits=(msgspec.structs.replace(MAIN_RPM, scope=scope),))
    assert admit_large(gateway).meter.facts.request_model == "large"

    assert admit_large(gateway).meter.facts.request_model == "small"


@pytest.mark.parametrize(("team_models", "key_models"), [(("large",), None), (None, ("large",))], ids=["team", "key"])
def test_nobody_is_degraded_to_a_model_that_is_not_allowed(
    gateway: Gateway, team_models: tuple[str, ...] | None, key_models: tuple[str, ...] | None
) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 80)
    assert admit_large(gateway).meter.facts.request_model == "small"

    large_and_small(gateway, budgets=(DEGRADING,), team=Team(id="search", tier="normal", models=team_models))
    _, key = gateway.new_key(models=key_models)

    assert admit_large(gateway, authorization=f"Bearer {key}").meter.facts.request_model == "large"


def test_a_request_may_insist_on_its_model(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 90)

    assert admit_large(gateway, x_bursar_degrade="0").meter.facts.request_model == "large"
    assert admit_large(gateway, x_bursar_degrade="1").meter.facts.request_model == "small"


def test_a_model_of_another_wire_format_or_none_at_all_is_no_lesser_one(gateway: Gateway) -> None:
    models = (
        model("large", "at-large", degrade_to=("gone", "claude", "small")),
        model("claude", "at-claude"),
        model("small", "at-small"),
    )
    deployments = tuple(
        deployment(id=f"at-{name}", protocol=protocol)
        for name, protocol in (("large", "openai_chat"), ("claude", "anthropic_messages"), ("small", "openai_chat"))
    )
    publish(gateway, models=models, deployments=deployments, budgets=(DEGRADING,))
    use(gateway, 80)

    assert admit_large(gateway).meter.facts.candidates == ("at-large: team monthly budget", "at-small")


# Asked beforehand.


def test_a_question_says_that_the_call_would_be_degraded_and_why(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 80)

    asked = estimate(gateway.admission, gateway.caller(), body(model="large", max_tokens=400), "openai_chat")

    assert (asked.admitted, asked.model, asked.degraded_from) == (True, "small", "large")
    assert asked.passed_over == ("at-large: team monthly budget",)


def test_a_question_does_not_wait_and_says_in_which_line_the_call_would(gateway: Gateway) -> None:
    two_deployments(gateway, MAIN_RPM, SPARE_SLOT)
    running = [gateway.admit(), gateway.admit()]

    asked = estimate(gateway.admission, gateway.caller(), body(max_tokens=400), "openai_chat")

    assert (asked.admitted, asked.refusal) == (False, None)
    assert asked.waits_for == "team (provider spare) limit of concurrent requests"
    assert (asked.deployment, asked.passed_over) == (
        "at-spare",
        ("at-main: team (provider main) limit of requests per minute",),
    )
    assert asked.hold_nusd is not None
    assert len(gateway.admission.room) == 0
    end(gateway, running[1])
    assert gateway.admit().meter.facts.queued_ms is None, "the question stands in no line"


def test_a_question_of_a_call_that_would_not_wait_says_what_refuses_it(gateway: Gateway) -> None:
    two_deployments(gateway, MAIN_RPM, SPARE_SLOT)
    gateway.admit()
    gateway.admit()

    asked = estimate(gateway.admission, gateway.caller(x_bursar_max_wait_ms="0"), body(), "openai_chat")

    assert (asked.admitted, asked.waits_for) == (False, None)
    assert asked.refusal is not None
    assert asked.refusal.scope == "team (provider spare) limit of concurrent requests"


FLAT: Final[dict[str, Any]] = {
    "input_nusd": 1_000_000,
    "cache_read_nusd": 0,
    "cache_write_nusd": 0,
    "output_nusd": 2_000_000,
}
TRIPLE: Final[dict[str, Any]] = {name: 3 * rate for name, rate in FLAT.items()}
NOW = Price(version="now", variants=(Variant(service_tier="priority", **TRIPLE),), unit_nusd={"image": 10**6}, **FLAT)
THEN = Price(version="then", **TRIPLE)


def offers(gateway: Gateway, *, at_ms: int = 0, **asked: Any) -> Offers:
    """The offers for a call at an instant, of a deployment whose price is another one from the first minute on."""
    priced = deployment(price=NOW, later_prices=(LaterPrice(from_ms=60_000, price=THEN),))
    document = gateway.publish(deployments=(priced,), budgets=(BUDGET,))
    request = ModelRequest(model="mini", prompt=Prompt(texts=("Hello",), message_count=1), **asked)
    call = Call(
        request_id="r1", caller=gateway.caller(), protocol="openai_chat", body=parse_body(body()), request=request
    )
    authorizer = Authorizer(CREDENTIAL_KEY, AccessTokens())
    return Offers(RoutingTable(document), call, settings=gateway.settings, authorizer=authorizer, now_ms=lambda: at_ms)


def test_a_call_is_priced_by_the_version_in_force_at_its_admission(gateway: Gateway) -> None:
    found = [offers(gateway, at_ms=at_ms)[0] for at_ms in (59_999, 60_000)]

    assert [offer.facts.price_version for offer in found] == ["now", "then"]
    before, after = (offer.reservation.hold_nusd or 0 for offer in found)
    assert after == 3 * before


def test_the_hold_covers_the_dearest_tier_and_every_piece_that_may_be_billed(gateway: Gateway) -> None:
    standard = offers(gateway)[0].terms.cost_nusd or 0
    priority = offers(gateway, service_tiers=("standard", "priority"))[0].terms.cost_nusd
    images = offers(gateway, units={"image": 4})[0].terms.cost_nusd

    assert priority == 3 * standard
    assert images == standard + 4


def test_a_call_that_writes_nothing_holds_no_output(gateway: Gateway) -> None:
    terms = offers(gateway, has_output=False)[0].terms

    assert terms.max_tokens == 0
    assert terms.cost_nusd == terms.input_bound_tokens


def test_at_a_dearer_tier_without_rates_a_budget_lacks_the_price_that_it_needs(gateway: Gateway) -> None:
    with pytest.raises(ModelNotAllowed, match="no price at the service tier 'fast'"):
        offers(gateway, service_tiers=("standard", "fast"))

    # Flex never costs more than the standard tier does.
    assert offers(gateway, service_tiers=("flex",))[0].facts.price_version == "now"
