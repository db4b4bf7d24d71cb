"""While Redis is away, calls that may do without it go on under this node's part of their limits; each is booked once
when Redis is back, whatever becomes of the processes meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import BursarError, InsufficientQuota, PolicyUnavailable, RateLimitExceeded
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.holds import WITHOUT_REDIS_MS, Holds
from kong_plugins.llm.journal import Journal
from kong_plugins.llm.limits import Granted, Reservation
from kong_plugins.llm.local_limits import LocalLimits
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.release import Limit, Scope
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.store import Store
from tests.llm.cast import deployment, policy
from tests.llm.gateway import BUDGET, body, now_ms
from tests.llm.proxy import LossyProxy
from tests.llm.store.conftest import OwnValkey
from tests.llm.store.own_node import COST_NUSD, Node, answers, events_of
from tests.llm.waiters import grant_of, waiters_of
from tests.servers import eventually

SOFT = msgspec.structs.replace(BUDGET, hard=False)
RPM = Limit(id="rpm", scope=Scope(kind="team", subject=None), unit="requests", amount=5, window_ms=60_000)


class Callers:
    """Calls of a key that was read before Redis went, under a policy by which Redis has decided before it went."""

    def __init__(
        self,
        node: Node,
        *,
        store: Store | None = None,
        outbox: Outbox | None = None,
        settings: EdgeSettings | None = None,
        **changes: Any,
    ) -> None:
        node.gateway.publish(**({"budgets": (SOFT,)} | changes))
        self.caller = node.gateway.caller()
        self._admission = Admission(
            store or node.store, settings or node.gateway.settings, outbox=outbox or node.outbox
        )
        self.admit(probe=True)

    def admit(self, *, probe: bool = False) -> Grant:
        return self._admission.admit(self.caller, body(), "openai_chat", probe=probe)

    def outcome(self) -> str:
        try:
            return self.admit().meter.facts.request_id
        except BursarError as refusal:
            return refusal.code


def test_a_call_goes_on_and_is_counted_by_the_ledger_when_redis_is_back(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node)
    own_valkey.kill()
    since_ms = now_ms()

    grant = callers.admit()
    node.finish(grant)
    own_valkey.start()

    [event] = events_of(node, 1)
    assert (event.request_id, event.kind, event.quality) == (grant.meter.facts.request_id, "posted", "exact")
    assert (event.amount_nusd, event.hold_nusd) == (COST_NUSD, grant.meter.hold_nusd)
    assert since_ms <= event.reserved_at_ms == grant.meter.reserved_at_ms <= now_ms()
    assert event.uncounted, "its counters learn of it from the ledger, once"
    eventually(lambda: node.outbox.waiting == 0, "nothing waits")
    assert (node.budget().spent, node.budget().held, node.store.open_holds("acme")) == (0, 0, 0)


def test_a_call_that_waits_in_a_line_goes_on_too(node: Node, own_valkey: OwnValkey) -> None:
    slot = Limit(id="slots", scope=RPM.scope, unit="concurrency", amount=1, window_ms=60_000, queue_ms=60_000)
    node.gateway.publish(budgets=(SOFT,), limits=(slot,))
    with waiters_of(node.gateway) as waiters:
        node.gateway.admit()
        waiting = waiters.begin()

        own_valkey.kill()

        assert grant_of(waiting).meter.facts.queued_ms is not None
        own_valkey.start()
        eventually(answers(lambda: node.store.open_holds("acme") == 2), "both are held")


def test_a_call_that_outlives_the_outage_is_held_and_then_posted(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node)
    own_valkey.kill()
    grant = callers.admit()
    own_valkey.start()

    eventually(answers(lambda: node.budget().held == grant.meter.hold_nusd), "it is held")
    node.finish(grant)

    [event] = events_of(node, 1)
    assert (event.kind, event.amount_nusd, event.uncounted) == ("posted", COST_NUSD, True)
    assert event.reserved_at_ms == grant.meter.reserved_at_ms
    eventually(answers(lambda: node.budget().held == 0), "nothing stays held")
    assert node.budget().spent == 0


@pytest.mark.parametrize("lease_ms", [1, 2000])
def test_a_call_of_which_nobody_hears_again_is_posted_in_full(node: Node, own_valkey: OwnValkey, lease_ms: int) -> None:
    """Its lease may even be over before Redis is back."""
    short = msgspec.structs.replace(node.gateway.settings, deadline_ms=lease_ms, lease_grace_ms=1)
    callers = Callers(node, settings=short)
    own_valkey.kill()
    grant = callers.admit()
    own_valkey.start()

    eventually(answers(lambda: node.store.expire_due("acme") == 1), "its lease is over")

    [expired] = events_of(node, 1)
    assert (expired.kind, expired.amount_nusd, expired.uncounted) == ("expired", grant.meter.hold_nusd, True)
    node.finish(grant)
    [late] = events_of(node, 1)
    assert (late.id[-2:], late.amount_nusd) == (":2", COST_NUSD - grant.meter.hold_nusd)


def test_the_successor_of_a_process_that_died_holds_its_calls(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node)
    own_valkey.kill()
    grant = callers.admit()
    node.outbox.close()
    own_valkey.start()

    node.new_process()

    eventually(answers(lambda: node.budget().held == grant.meter.hold_nusd), "it is held")


def test_what_a_call_has_cost_is_told_even_if_its_hold_was_and_all_processes_died(
    node: Node, own_valkey: OwnValkey
) -> None:
    meter = node.new_process()
    callers = Callers(node)
    own_valkey.kill()
    grant = callers.admit()
    own_valkey.start()
    eventually(answers(lambda: node.store.open_holds("acme") == 1), "it is held")
    own_valkey.kill()
    node.finish(grant, meter)
    for process in (node.outbox, meter):
        process.close()
    own_valkey.start()

    node.new_process()

    [event] = events_of(node, 1)
    assert (event.kind, event.quality, event.amount_nusd) == ("posted", "exact", COST_NUSD)


def test_what_redis_may_hold_after_all_is_given_back_and_the_call_is_another(node: Node, own_valkey: OwnValkey) -> None:
    with LossyProxy(own_valkey.url) as network:
        behind = Store.from_url(network.url, timeout_ms=2000)
        callers = Callers(node, store=behind)
        network.answers_to_lose = 2
        grant = callers.admit()
        eventually(lambda: node.store.open_holds("acme") == 1, "the first is given back, and the second held")
        node.finish(grant)
        behind.close()

    voided, posted = events_of(node, 2)
    assert (voided.kind, voided.outcome, voided.amount_nusd) == ("voided", "undecided", 0)
    assert (posted.kind, posted.request_id) == ("posted", grant.meter.facts.request_id)
    assert posted.request_id != voided.request_id
    assert grant.response_headers["x-bursar-request-id"] == grant.table()["id"] == posted.request_id
    assert (node.budget().held, node.store.open_holds("acme")) == (0, 0)


def test_a_redis_that_hangs_costs_one_call_its_time_outs_and_no_hold(node: Node, own_valkey: OwnValkey) -> None:
    hasty = Store.from_url(own_valkey.url, timeout_ms=100)
    outbox = Outbox(hasty, Journal(node.folder, "llm-rate-limit"))
    outbox.start()
    callers = Callers(node, store=hasty, outbox=outbox)
    own_valkey.pause()

    grants = [callers.admit() for _ in range(5)]
    assert outbox.waiting == 6, "five to hold, and the one that was asked for to give back"
    own_valkey.resume()

    eventually(lambda: outbox.waiting == 0, "Redis is told")
    held_nusd = sum(grant.meter.hold_nusd for grant in grants)
    eventually(lambda: (node.budget().held, node.store.open_holds("acme")) == (held_nusd, 5), "these and no other")
    outbox.close()
    hasty.close()


def test_each_node_goes_by_its_part_and_says_when_to_come_back(node: Node, own_valkey: OwnValkey) -> None:
    one_of_two = msgspec.structs.replace(node.gateway.settings, edges=2)
    callers = Callers(node, settings=one_of_two, limits=(RPM,))
    own_valkey.kill()

    answered = [callers.admit().response_headers for _ in range(2)]
    with pytest.raises(RateLimitExceeded) as caught:
        callers.admit()

    assert [answer["x-ratelimit-remaining-requests"] for answer in answered] == ["1", "0"]
    assert answered[0]["x-ratelimit-limit-requests"] == "2"
    assert caught.value.scope == "team limit of requests per minute"
    assert caught.value.retry_after_ms is not None
    assert 59_000 <= caught.value.retry_after_ms <= 61_000


def test_a_question_is_answered_as_the_call_would_be_and_takes_nothing(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node, limits=(msgspec.structs.replace(RPM, amount=1),))
    own_valkey.kill()

    for _ in range(3):
        callers.admit(probe=True)
    assert node.outbox.waiting == 0
    callers.admit()
    with pytest.raises(RateLimitExceeded):
        callers.admit(probe=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"budgets": (BUDGET,)},
        {"fault_tolerant_tiers": ("critical", "experimental")},
        {"limits": (msgspec.structs.replace(RPM, amount=1),), "edges": 2},
    ],
)
def test_what_only_redis_can_decide_closes(node: Node, own_valkey: OwnValkey, changes: dict[str, Any]) -> None:
    settings = msgspec.structs.replace(node.gateway.settings, edges=changes.pop("edges", 1))
    callers = Callers(node, settings=settings, **changes)
    own_valkey.kill()

    with pytest.raises(PolicyUnavailable) as caught:
        callers.admit()

    assert caught.value.headers()["retry-after"] == "1"


def test_a_tier_that_needs_no_cap_goes_on_and_its_spending_counts_afterwards(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node, budgets=(BUDGET,), capless_tiers=("normal",))
    node.gateway.set_cap(0, version=2)
    with pytest.raises(InsufficientQuota):
        callers.admit()
    own_valkey.kill()

    grant = callers.admit()
    own_valkey.start()

    eventually(answers(lambda: node.budget().held == grant.meter.hold_nusd), "it is held")
    assert callers.outcome() == "insufficient_quota", "with Redis back the cap counts again"


@pytest.mark.parametrize("options", [None, {"most_bytes": 1}])
def test_what_cannot_be_written_down_is_not_granted(
    node: Node, own_valkey: OwnValkey, options: dict[str, Any] | None
) -> None:
    outbox = Outbox(node.store, None) if options is None else node.new_process(**options)
    callers = Callers(node, outbox=outbox)
    own_valkey.kill()

    with pytest.raises(PolicyUnavailable):
        callers.admit()
    assert outbox.waiting == 1, "only what Redis may hold, to be given back"


def test_a_process_that_has_not_decided_before_redis_went_does_not_go_on(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node)
    own_valkey.kill()
    assert callers.outcome() != "policy_unavailable"

    restarted = Admission(node.store, node.gateway.settings, outbox=node.outbox)

    with pytest.raises(PolicyUnavailable):
        restarted.admit(callers.caller, body(), "openai_chat")


def test_redis_counts_again_as_soon_as_it_is_back(node: Node, own_valkey: OwnValkey) -> None:
    callers = Callers(node, limits=(msgspec.structs.replace(RPM, amount=1),))
    own_valkey.kill()
    callers.admit()
    assert callers.outcome() == "rate_limit_exceeded"
    own_valkey.start()

    eventually(lambda: callers.outcome() != "rate_limit_exceeded", "a call is admitted by Redis")


def test_nobody_goes_on_for_longer_than_keys_are_known(node: Node, own_valkey: OwnValkey) -> None:
    elapsed_ms = [10]
    holds = Holds(node.store, node.outbox, LocalLimits(1), now_ms=now_ms, elapsed_ms=lambda: elapsed_ms[0])

    def reserve(request_id: str) -> object:
        return holds.reserve(
            Reservation(
                organization="acme",
                request_id=request_id,
                policy_number=node.document.number,
                lease_ms=60_000,
                hold_nusd=0,
                hold_tokens=1,
                limits=(),
                budgets=(),
                draft=b"{}",
                without_redis=True,
            )
        )

    reserve("with-redis")
    own_valkey.kill()
    elapsed_ms[0] += WITHOUT_REDIS_MS
    assert isinstance(reserve("in-time"), Granted)

    elapsed_ms[0] += 1
    with pytest.raises(PolicyUnavailable):
        reserve("too-late")


def test_after_a_lost_answer_no_other_candidate_is_tried_under_the_same_id(node: Node, own_valkey: OwnValkey) -> None:
    """What Redis may hold for the first candidate is being given up, and the second one's hold would go with it."""
    at_other = deployment(id="mini-at-other", provider="other", order=1)
    model = msgspec.structs.replace(policy().models[0], deployments=("mini-at-openai", "mini-at-other"))
    first_is_shut = Limit(
        id="shut",
        scope=Scope(kind="team", subject=None, provider="openai"),
        unit="requests",
        amount=1,
        window_ms=60_000,
    )
    with LossyProxy(own_valkey.url) as network:
        behind = Store.from_url(network.url, timeout_ms=2000)
        callers = Callers(
            node,
            store=behind,
            outbox=Outbox(behind, Journal(node.folder, "not-yet-started")),
            deployments=(deployment(), at_other),
            models=(model,),
            limits=(first_is_shut,),
        )
        network.answers_to_lose = 2
        callers.admit()
        eventually(answers(lambda: behind.policy_number("acme") is not None), "Redis is asked again")
        network.answers_to_lose = 2

        assert callers.outcome() == "policy_unavailable"
        assert callers.outcome() != "policy_unavailable", "the next call finds Redis back"
        behind.close()
