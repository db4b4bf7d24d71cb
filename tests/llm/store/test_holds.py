"""A hold ends once: posted, voided, or expired and posted in full, and the truth may come late."""

from __future__ import annotations

import pytest

from kong_plugins.llm.limits import Denied, Granted, Unready
from tests.llm.store.engine import LEASE_MS, Engine, budget, limit

MONEY, TOKENS, REQUESTS = budget(), budget("tokens", "day"), budget("requests", "week")


@pytest.fixture
def budgets(engine: Engine) -> Engine:
    engine.enforce(MONEY, TOKENS, REQUESTS)
    for rule in (MONEY, TOKENS, REQUESTS):
        engine.set_cap(rule, 1000)
    return engine


def states(engine: Engine) -> list[tuple[int, int]]:
    return [engine.state(rule) for rule in (MONEY, TOKENS, REQUESTS)]


def test_a_hold_whose_lease_is_over_is_posted_in_full(budgets: Engine) -> None:
    request_id = budgets.hold(tokens=11)
    budgets.pass_time(LEASE_MS - 1)
    assert budgets.store.expire_due(budgets.organization) == 0
    assert budgets.store.open_holds(budgets.organization) == 1

    budgets.pass_time(1)

    assert budgets.store.expire_due(budgets.organization) == 1
    assert budgets.store.expire_due(budgets.organization) == 0
    assert states(budgets) == [(100, 0), (11, 0), (1, 0)]
    assert budgets.store.open_holds(budgets.organization) == 0
    [event] = budgets.usage()
    assert (event.id, event.kind, event.quality) == (f"{request_id}:1", "expired", "upper_bound")
    assert (event.amount_nusd, event.input_tokens, event.output_tokens) == (100, 5, 6)


def test_the_sweep_takes_the_oldest_and_no_more_than_it_is_asked_to(budgets: Engine) -> None:
    first = budgets.hold()
    budgets.pass_time(10)
    budgets.hold()
    budgets.pass_time(LEASE_MS)

    assert budgets.store.expire_due(budgets.organization, most=1) == 1

    assert [event.request_id for event in budgets.usage()] == [first]


def test_a_late_truth_posts_the_difference(budgets: Engine) -> None:
    request_id = budgets.hold(tokens=11)
    budgets.pass_time(LEASE_MS)
    budgets.store.expire_due(budgets.organization)

    assert budgets.post(request_id, amount_nusd=30, tokens=4) == "adjusted"
    assert budgets.post(request_id, amount_nusd=30, tokens=4) == "duplicate"

    assert states(budgets) == [(30, 0), (4, 0), (1, 0)]
    expired, adjusted = budgets.usage()
    assert (adjusted.id, adjusted.kind, adjusted.amount_nusd) == (f"{request_id}:2", "adjusted", -70)
    assert expired.input_tokens + adjusted.input_tokens == 2
    assert expired.output_tokens + adjusted.output_tokens == 2


def test_a_late_void_gives_everything_back(budgets: Engine) -> None:
    request_id = budgets.hold()
    budgets.pass_time(LEASE_MS)
    budgets.store.expire_due(budgets.organization)

    assert budgets.void(request_id) == "adjusted"

    assert states(budgets) == [(0, 0), (0, 0), (0, 0)]
    expired, adjusted = budgets.usage()
    assert adjusted.amount_nusd == -100
    assert expired.input_tokens + adjusted.input_tokens == expired.output_tokens + adjusted.output_tokens == 0


def test_a_late_difference_may_go_up(budgets: Engine) -> None:
    request_id = budgets.hold(cost_nusd=400)
    budgets.pass_time(LEASE_MS)
    budgets.store.expire_due(budgets.organization)

    budgets.post(request_id, amount_nusd=900)

    assert budgets.state(MONEY) == (900, 0)
    assert [event.percent for event in budgets.thresholds()] == [50, 75, 90]


def test_text_that_looks_like_a_count_is_left_alone_by_the_difference(budgets: Engine) -> None:
    request_id = budgets.hold(tokens=10)
    budgets.pass_time(LEASE_MS)
    budgets.store.expire_due(budgets.organization)
    hostile = '"input_tokens":7,"output_tokens":9,}'
    fields = budgets.fields_of(request_id, user=hostile, input_tokens=8, tags=(hostile,), output_tokens=2)

    budgets.store.post(budgets.organization, request_id, amount_nusd=100, tokens=10, event_fields=fields)

    adjusted = budgets.usage()[-1]
    assert (adjusted.input_tokens, adjusted.output_tokens) == (3, -3)
    assert (adjusted.user, adjusted.tags) == (hostile, (hostile,))


def test_a_second_end_changes_nothing(budgets: Engine) -> None:
    request_id = budgets.hold()
    assert budgets.post(request_id, amount_nusd=40) == "posted"

    assert budgets.post(request_id, amount_nusd=70) == "duplicate"
    assert budgets.void(request_id) == "duplicate"
    budgets.pass_time(LEASE_MS)
    assert budgets.store.expire_due(budgets.organization) == 0

    assert budgets.state(MONEY) == (40, 0)
    assert len(budgets.usage()) == 1


def test_a_void_that_overtakes_its_reservation_keeps_it_out(budgets: Engine) -> None:
    reservation = budgets.reservation()

    assert budgets.void(reservation.request_id) == "orphan"

    assert budgets.store.reserve(reservation) == Unready(reason="request_id_used")
    assert states(budgets) == [(0, 0), (0, 0), (0, 0)]
    assert budgets.usage() == []


def test_a_resolved_id_is_not_held_again(budgets: Engine) -> None:
    reservation = budgets.reservation()
    assert isinstance(budgets.store.reserve(reservation), Granted)
    budgets.post(reservation.request_id)

    assert budgets.store.reserve(reservation) == Unready(reason="request_id_used")


def test_a_post_without_its_hold_is_left_to_the_ledger(budgets: Engine) -> None:
    assert budgets.post("forgotten", amount_nusd=70) == "orphan"
    assert budgets.post("forgotten", amount_nusd=70) == "duplicate"

    assert budgets.state(MONEY) == (0, 0)
    [event] = budgets.usage()
    assert (event.id, event.kind, event.amount_nusd) == ("forgotten:1", "posted", 70)


def test_more_than_was_held_is_posted_all_the_same(budgets: Engine) -> None:
    budgets.post(budgets.hold(), amount_nusd=5000)

    assert budgets.state(MONEY) == (5000, 0)
    assert isinstance(budgets.reserve(cost_nusd=1), Denied)


def test_an_unknown_price_is_an_unknown_amount(engine: Engine) -> None:
    requests = budget("requests", "day")
    engine.enforce(requests)
    engine.set_cap(requests, 10)
    known = engine.hold(cost_nusd=None)
    engine.hold(cost_nusd=None)

    engine.post(known, amount_nusd=None)
    engine.pass_time(LEASE_MS)
    engine.store.expire_due(engine.organization)

    posted, expired = engine.usage()
    assert (posted.amount_nusd, expired.amount_nusd, expired.quality) == (None, None, "unpriced")
    assert engine.state(requests) == (2, 0)


def test_a_slot_is_free_when_its_call_has_ended_or_its_lease_is_over(engine: Engine) -> None:
    engine.enforce(limit("concurrency", 2))
    posted, voided = engine.hold(), engine.hold()
    refused = engine.reserve()
    assert isinstance(refused, Denied)
    assert refused.retry_after_ms == 1000
    assert refused.check.scope_name == "team limit of concurrent requests"

    engine.post(posted)
    engine.void(voided)
    engine.hold()
    engine.hold()
    assert isinstance(engine.reserve(), Denied)

    engine.pass_time(LEASE_MS)
    engine.hold()


def test_the_seq_of_events_has_no_gap(budgets: Engine) -> None:
    for end in (budgets.post, budgets.void):
        end(budgets.hold())
    budgets.reserve(cost_nusd=10_000)
    budgets.hold()
    budgets.pass_time(LEASE_MS)
    budgets.store.expire_due(budgets.organization)

    assert [event.seq for event in budgets.usage()] == [1, 2, 3, 4]


@pytest.mark.parametrize("request_id", ["", "a b", 'a"', "a:1", "x" * 65, "ä"])
def test_a_request_id_that_would_not_fit_into_an_event_is_refused(engine: Engine, request_id: str) -> None:
    engine.enforce()
    with pytest.raises(ValueError, match="request id"):
        engine.reservation(request_id=request_id)
    with pytest.raises(ValueError, match="request id"):
        engine.post(request_id)
