"""May they: a call is held before it is granted, and refused with a reason that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import msgspec
import pytest
import redis
from gevent import GreenletExit

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.credentials import seal_credential
from kong_plugins.llm.errors import (
    BursarError,
    InsufficientQuota,
    InvalidRequest,
    ModelNotAllowed,
    ModelNotFound,
    PolicyUnavailable,
    RateLimitExceeded,
    RequestTooLarge,
    UnsupportedEncoding,
)
from kong_plugins.llm.grants import USEFUL_OUTPUT_TOKENS, Grant
from kong_plugins.llm.limits import Reservation
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.release import Budget, Limit, Scope
from kong_plugins.llm.store import Store
from tests.llm.cast import CREDENTIAL_KEY, deployment, policy
from tests.llm.gateway import BUDGET, Gateway, body
from tests.llm.proxy import LossyProxy
from tests.servers import eventually

TEAM = Scope(kind="team", subject=None)


@pytest.fixture
def network(redis_address: str) -> Iterator[LossyProxy]:
    with LossyProxy(redis_address) as proxy:
        yield proxy


def test_a_call_is_held_at_the_most_that_it_can_cost(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    period = gateway.set_cap(10**9)

    grant = gateway.admit(max_tokens=400)

    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert state.held == grant.meter.hold_nusd == grant.meter.terms.cost_nusd
    true_cost_nusd = 9 * 150 + 400 * 600
    assert true_cost_nusd < grant.meter.hold_nusd < true_cost_nusd * 102 // 100


@pytest.mark.parametrize(
    ("members", "max_tokens"),
    [({}, 1024), ({"max_tokens": 50}, 50), ({"max_completion_tokens": 10**6}, 16_384), ({"n": 4}, 1024)],
)
def test_the_output_is_what_was_asked_for_or_the_models_default_within_its_maximum(
    gateway: Gateway, members: dict[str, object], max_tokens: int
) -> None:
    terms = gateway.admit(**members).meter.terms

    assert terms.max_tokens == max_tokens
    assert terms.choices == members.get("n", 1)


def test_what_is_known_of_the_call_goes_into_its_event(gateway: Gateway) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    caller = gateway.caller(x_user_id="alice", traceparent=f"00-{trace}-b7ad6b7169203331-01")

    facts = gateway.admission.admit(caller, body(max_tokens=7), "openai_chat").meter.facts

    assert (facts.team, facts.user, facts.key, facts.tier) == ("search", "alice", gateway.key_record.id, "normal")
    assert (facts.protocol, facts.request_model, facts.provider) == ("openai_chat", "mini", "openai")
    assert (facts.deployment, facts.price_version, facts.release) == ("mini-at-openai", "2026-11", gateway.number)
    assert (facts.requested_max_tokens, facts.trace_id) == (7, trace)


def test_every_call_has_an_id_of_its_own(gateway: Gateway) -> None:
    assert gateway.admit().meter.facts.request_id != gateway.admit().meter.facts.request_id


def test_a_rate_limit_says_when_to_come_back(gateway: Gateway) -> None:
    gateway.publish(limits=(Limit(id="rpm", scope=TEAM, unit="requests", amount=2, window_ms=60_000),))
    answers = [gateway.admit().response_headers for _ in range(2)]

    with pytest.raises(RateLimitExceeded) as caught:
        gateway.admit()

    assert [answer["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0"]
    assert caught.value.scope == "team limit of requests per minute"
    assert caught.value.retry_after_ms is not None
    assert 50_000 <= caught.value.retry_after_ms <= 61_000


def test_a_call_that_no_window_could_ever_admit_is_told_so(gateway: Gateway) -> None:
    gateway.publish(limits=(Limit(id="tpm", scope=TEAM, unit="tokens", amount=100, window_ms=60_000),))

    with pytest.raises(RequestTooLarge, match="ever"):
        gateway.admit(max_tokens=500)

    assert gateway.admit(max_tokens=50).meter.terms.tokens <= 100


def test_a_used_up_budget_refuses_and_tells_no_number(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(0)

    with pytest.raises(InsufficientQuota) as caught:
        gateway.admit()

    assert caught.value.scope == "team monthly budget"
    assert not any(character.isdigit() for character in caught.value.message)
    [refused] = gateway.events()
    assert (refused.kind, refused.refusing_scope, refused.request_model) == ("refused", "team monthly budget", "mini")


def test_a_crowd_never_holds_more_than_the_cap(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    cap_nusd = 5 * 245_400
    period = gateway.set_cap(cap_nusd)

    def attempt(_: int) -> Grant | BursarError:
        try:
            return gateway.admit(max_tokens=400)
        except InsufficientQuota as refusal:
            return refusal

    with ThreadPoolExecutor(16) as crowd:
        outcomes = list(crowd.map(attempt, range(64)))

    held = sum(outcome.meter.hold_nusd for outcome in outcomes if isinstance(outcome, Grant))
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert cap_nusd * 3 // 4 < state.held == held <= cap_nusd


def test_the_last_money_of_a_budget_buys_a_shorter_answer(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(200_000)

    grant = gateway.admit(max_tokens=400)

    granted = grant.meter.terms.max_tokens
    assert USEFUL_OUTPUT_TOKENS <= granted < 400
    assert grant.response_headers["x-bursar-max-tokens"] == str(granted)
    assert str(granted) in [splice.replacement for splice in grant.splices]
    assert grant.meter.terms.worst_cost_nusd(granted) <= grant.meter.hold_nusd <= 200_000


def test_too_little_money_for_a_useful_answer_refuses(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(100_000)

    with pytest.raises(InsufficientQuota):
        gateway.admit(max_tokens=400)
    assert gateway.admit(max_tokens=100).meter.terms.max_tokens == 100


def test_a_caller_who_wants_the_whole_answer_is_refused_instead_of_getting_a_shorter_one(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))
    gateway.set_cap(300_000)
    whole_only = gateway.caller(x_bursar_partial="0")

    with pytest.raises(InsufficientQuota):
        gateway.admission.admit(whole_only, body(max_tokens=1000), "openai_chat")

    grant = gateway.admission.admit(whole_only, body(max_tokens=400), "openai_chat")
    assert grant.response_headers["x-bursar-max-tokens"] == "400"


@pytest.mark.parametrize("label", ["alice ", " alice", "\talice\n"])
def test_blanks_around_the_user_that_a_body_names_make_no_other_user(gateway: Gateway, label: str) -> None:
    _, key = gateway.new_key(speaks_for_users=True)
    each = Budget(id="each", scope=Scope(kind="user", subject=None), unit="requests", period="month", each_cap=1)
    gateway.publish(budgets=(each,))
    caller = gateway.caller(authorization=f"Bearer {key}")
    gateway.admission.admit(caller, body(user="alice"), "openai_chat")

    with pytest.raises(InsufficientQuota):
        gateway.admission.admit(caller, body(user=label), "openai_chat")


def test_without_a_price_a_call_needs_the_absence_of_a_hard_budget(gateway: Gateway) -> None:
    unpriced = (deployment(price=None),)
    gateway.publish(deployments=unpriced, budgets=(BUDGET,))
    gateway.set_cap(10**12)

    with pytest.raises(ModelNotAllowed, match="no price"):
        gateway.admit()

    gateway.publish(deployments=unpriced, budgets=(msgspec.structs.replace(BUDGET, hard=False),))
    grant = gateway.admit()
    assert (grant.meter.terms.price, grant.meter.hold_nusd, grant.meter.facts.price_version) == (None, 0, None)


def test_a_budget_without_a_period_refuses(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))

    with pytest.raises(PolicyUnavailable):
        gateway.admit()


def test_an_organization_whose_counters_are_not_complete_is_not_admitted(store: Store, organization: str) -> None:
    gateway = Gateway(store, organization)
    other = f"{organization}-unready"
    store.publish_policy(policy(organization=other))
    record, key = gateway.new_key(organization=other)

    with pytest.raises(PolicyUnavailable):
        gateway.admission.admit(gateway.caller(authorization=f"Bearer {key}"), body(), "openai_chat")
    assert record.organization == other


def test_an_organization_without_a_policy_is_not_admitted(gateway: Gateway) -> None:
    _, key = gateway.new_key(organization=f"{gateway.organization}-without")

    with pytest.raises(PolicyUnavailable):
        gateway.admission.admit(gateway.caller(authorization=f"Bearer {key}"), body(), "openai_chat")


def test_a_new_policy_counts_on_the_next_request(gateway: Gateway) -> None:
    gateway.admit()
    gateway.publish(limits=(Limit(id="rpm", scope=TEAM, unit="requests", amount=1, window_ms=60_000),))

    gateway.admit()

    with pytest.raises(RateLimitExceeded):
        gateway.admit()


def test_a_model_that_was_just_added_is_served_and_one_that_was_removed_is_not(gateway: Gateway) -> None:
    mini = policy().models[0]
    with pytest.raises(ModelNotAllowed):
        gateway.admit(model="secret")

    gateway.publish(models=(mini, msgspec.structs.replace(mini, name="newest")), teams=policy().teams[1:])
    with pytest.raises(PolicyUnavailable):
        gateway.admit(model="newest")
    gateway.publish(
        models=(msgspec.structs.replace(mini, name="newest"),),
        teams=(msgspec.structs.replace(policy().teams[0], models=None),),
    )

    assert gateway.admit(model="newest").meter.facts.request_model == "newest"
    with pytest.raises(ModelNotFound):
        gateway.admit(model="mini")


def test_a_policy_that_is_just_being_published_is_waited_for_by_the_client(
    gateway: Gateway, redis_address: str
) -> None:
    """The number that counts is already higher than the document that can be read."""
    with redis.Redis.from_url(redis_address) as client:
        client.set(f"bursar:{{{gateway.organization}}}:policy_number", gateway.number + 1)

    with pytest.raises(PolicyUnavailable):
        gateway.admit()


def test_a_store_that_is_away_refuses_whether_or_not_the_policy_is_known(gateway: Gateway, redis_address: str) -> None:
    caller = gateway.caller()
    with LossyProxy(redis_address) as network:
        store = Store.from_url(network.url, timeout_ms=2000)
        admission = Admission(store, gateway.settings)
        admission.admit(caller, body(), "openai_chat")
        network.answers_to_lose = 1000
        with pytest.raises(PolicyUnavailable):
            admission.admit(caller, body(), "openai_chat")
        with pytest.raises(PolicyUnavailable):
            Admission(store, gateway.settings).admit(caller, body(), "openai_chat")
        store.close()


def test_a_hold_whose_answer_was_lost_is_given_back(gateway: Gateway, network: LossyProxy) -> None:
    gateway.publish(budgets=(BUDGET,))
    period = gateway.set_cap(10**9)
    store = Store.from_url(network.url, timeout_ms=2000)
    outbox = Outbox(gateway.store, None)
    outbox.start()
    admission = Admission(store, gateway.settings, outbox=outbox)
    first = admission.admit(gateway.caller(), body(), "openai_chat")

    network.answers_to_lose = 2
    with pytest.raises(PolicyUnavailable):
        admission.admit(gateway.caller(), body(), "openai_chat")
    store.close()
    eventually(lambda: gateway.store.open_holds(gateway.organization) == 1, "it is given back")
    outbox.close()

    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert state.held == first.meter.hold_nusd
    [voided] = gateway.events()
    assert (voided.kind, voided.outcome, voided.amount_nusd) == ("voided", "undecided", 0)


class EndedWhileRedisDecides(Store):
    """A store to whose answer nobody listens any more: the plugin server has ended the handler, which took too long."""

    def reserve(self, reservation: Reservation) -> NoReturn:
        super().reserve(reservation)
        raise GreenletExit


@pytest.mark.parametrize("probe", [False, True])
def test_a_hold_whose_handler_was_ended_before_the_answer_came_is_given_back(gateway: Gateway, probe: bool) -> None:
    gateway.publish(budgets=(BUDGET,))
    period = gateway.set_cap(10**9)
    outbox = Outbox(gateway.store, None)
    outbox.start()
    admission = Admission(EndedWhileRedisDecides(gateway.store.connection), gateway.settings, outbox=outbox)

    with pytest.raises(GreenletExit):
        admission.admit(gateway.caller(), body(), "openai_chat", probe=probe)
    eventually(lambda: gateway.store.open_holds(gateway.organization) == 0, "it is given back")
    outbox.close()

    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert state.held == 0
    assert [event.outcome for event in gateway.events()] == ([] if probe else ["undecided"])


def test_a_credential_that_cannot_be_opened_holds_nothing(gateway: Gateway) -> None:
    gateway.publish(
        credentials={"openai-main": seal_credential("sk", credential_id="x", credential_key=CREDENTIAL_KEY)}
    )

    with pytest.raises(PolicyUnavailable, match="credential cannot be opened"):
        gateway.admit()

    assert gateway.store.open_holds(gateway.organization) == 0


@pytest.mark.parametrize("data", [b"", b"{}", b'{"model":"mini"}', b"x"])
def test_what_is_no_chat_request_is_refused_before_anything_is_held(gateway: Gateway, data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        gateway.admission.admit(gateway.caller(), data, "openai_chat")

    assert gateway.store.open_holds(gateway.organization) == 0


def test_a_body_is_refused_by_its_headers_before_it_is_read(gateway: Gateway) -> None:
    most = gateway.settings.max_request_bytes

    gateway.admission.check_headers(gateway.caller(content_length=str(most), content_encoding="identity"))
    with pytest.raises(RequestTooLarge):
        gateway.admission.check_headers(gateway.caller(content_length=str(most + 1)))
    for encoding in ("gzip", "br", "identity, gzip"):
        with pytest.raises(UnsupportedEncoding):
            gateway.admission.check_headers(gateway.caller(content_encoding=encoding))


def test_a_body_that_hid_its_length_is_refused_by_its_size(gateway: Gateway) -> None:
    small = msgspec.structs.replace(gateway.settings, max_request_bytes=50)

    with pytest.raises(RequestTooLarge):
        Admission(gateway.store, small).admit(gateway.caller(), body(), "openai_chat")


def test_a_call_that_no_request_can_be_made_of_gives_its_hold_back(gateway: Gateway) -> None:
    later = deployment(authentication="a way of later versions")
    gateway.publish(deployments=(later,), budgets=(BUDGET,))
    gateway.set_cap(10**12)

    with pytest.raises(ValueError, match="no gateway of this version"):
        gateway.admission.admit(gateway.caller(), body(), "openai_chat", probe=True)
    assert gateway.events() == []
    with pytest.raises(ValueError, match="no gateway of this version"):
        gateway.admit()

    [voided] = gateway.events()
    assert (voided.kind, voided.outcome) == ("voided", "not_sent")
    assert gateway.store.open_holds(gateway.organization) == 0
