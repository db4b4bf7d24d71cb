"""Sliding limits: no window ever holds more than the limit, nearly all of it is used, and waits are exact."""

from __future__ import annotations

from collections import deque

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.limits import Denied, Granted
from kong_plugins.llm.money import MAX_CAP_NUSD
from tests.llm.store.engine import MINUTE_MS, START_MS, Engine, budget, limit

ARRIVALS = st.lists(st.tuples(st.integers(0, MINUTE_MS // 2), st.integers(1, 60)), max_size=60)


@given(window_ms=st.sampled_from([MINUTE_MS, 61_003, 3_600_000]), arrivals=ARRIVALS, refunds=st.booleans())
def test_no_window_ever_holds_more_than_the_limit(
    client: redis.Redis, window_ms: int, arrivals: list[tuple[int, int]], refunds: bool
) -> None:
    engine = Engine.anew(client)
    engine.enforce(limit("tokens", 100, window_ms=window_ms))
    admitted: deque[tuple[int, int]] = deque()
    for pause_ms, tokens in arrivals:
        engine.pass_time(pause_ms * window_ms // MINUTE_MS)
        reservation = engine.reservation(tokens=tokens)
        if isinstance(engine.store.reserve(reservation), Granted):
            used = tokens // 2 if refunds else tokens
            engine.post(reservation.request_id, tokens=used)
            admitted.append((engine.now_ms, used))
        while admitted and admitted[0][0] <= engine.now_ms - window_ms:
            admitted.popleft()
        assert sum(used for _, used in admitted) <= 100


@pytest.mark.parametrize(("amount", "gap_ms"), [(600, 47), (60, 311), (7, 1999)])
def test_under_constant_demand_at_least_98_percent_is_used(engine: Engine, amount: int, gap_ms: int) -> None:
    engine.enforce(limit("requests", amount))
    admitted = 0
    for _ in range(5 * MINUTE_MS // gap_ms):
        engine.pass_time(gap_ms)
        admitted += isinstance(engine.reserve(), Granted)

    # A demand that is checked every `gap_ms` can be late by that much in each of the windows.
    assert admitted >= 5 * amount * 0.98 * MINUTE_MS / (MINUTE_MS + gap_ms)


@given(arrivals=ARRIVALS, tokens=st.integers(1, 100), window_ms=st.sampled_from([MINUTE_MS, 61_003]))
def test_a_refused_call_fits_exactly_when_it_was_told(
    client: redis.Redis, arrivals: list[tuple[int, int]], tokens: int, window_ms: int
) -> None:
    engine = Engine.anew(client)
    engine.enforce(limit("tokens", 100, window_ms=window_ms), limit("tokens", 150, id="hour", window_ms=3_600_000))
    for pause_ms, some in arrivals:
        engine.pass_time(pause_ms)
        engine.reserve(tokens=some)

    refused = engine.reserve(tokens=tokens)

    if isinstance(refused, Denied):
        assert refused.retry_after_ms is not None
        engine.pass_time(refused.retry_after_ms - 1)
        assert isinstance(engine.reserve(tokens=tokens), Denied)
        engine.pass_time(1)
        assert isinstance(engine.reserve(tokens=tokens), Granted)


def test_what_is_larger_than_the_limit_never_fits(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))

    refused = engine.reserve(tokens=101)

    assert isinstance(refused, Denied)
    assert refused.retry_after_ms is None


def test_a_grant_says_what_is_left_and_when_all_of_it_is_free_again(engine: Engine) -> None:
    engine.enforce(limit("requests", 10), limit("tokens", 1000))

    answer = engine.reserve(tokens=300)

    assert isinstance(answer, Granted)
    assert [(state.check.unit, state.remaining) for state in answer.limits] == [("requests", 9), ("tokens", 700)]
    engine.pass_time(answer.limits[0].reset_ms)
    again = engine.reserve(tokens=300)
    assert isinstance(again, Granted)
    assert [state.remaining for state in again.limits] == [9, 700]


def test_of_several_limits_the_one_to_wait_for_longest_answers(engine: Engine) -> None:
    engine.enforce(limit("requests", 1, id="minute"), limit("requests", 1, id="hour", window_ms=3_600_000))
    engine.hold()

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert refused.check.scope_name == "team limit of requests per hour"


def test_a_budget_that_is_used_up_answers_before_a_limit_that_will_open(engine: Engine) -> None:
    rule = budget()
    engine.enforce(limit("requests", 1), rule)
    engine.set_cap(rule, 100)
    engine.hold()

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert refused.check.id == rule.id


def test_a_refused_call_counts_nowhere(engine: Engine) -> None:
    engine.enforce(limit("requests", 10), limit("tokens", 15))
    engine.hold()
    for _ in range(20):
        assert isinstance(engine.reserve(), Denied)

    answer = engine.reserve(tokens=5)
    assert isinstance(answer, Granted)
    assert [state.remaining for state in answer.limits] == [8, 0]


def test_tokens_that_were_not_used_are_given_back_to_their_own_slice(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    request_id = engine.hold(tokens=100)
    engine.pass_time(30_000)
    engine.post(request_id, tokens=40)

    engine.hold(tokens=60)
    assert isinstance(engine.reserve(tokens=1), Denied)
    engine.pass_time(31_000)
    engine.hold(tokens=40)
    assert isinstance(engine.reserve(tokens=1), Denied)


def test_what_others_have_used_since_is_not_touched_by_what_comes_back(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    early = engine.hold(tokens=50)
    engine.pass_time(30_000)
    engine.hold(tokens=50)
    engine.post(early, tokens=10)
    engine.pass_time(31_000)

    assert isinstance(engine.reserve(tokens=51), Denied)
    engine.hold(tokens=50)


def test_the_oldest_slice_counts_whole_until_all_of_it_has_left(engine: Engine) -> None:
    engine.enforce(limit("requests", 1))
    engine.hold()
    engine.pass_time(MINUTE_MS + 999)

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert refused.retry_after_ms == 1
    engine.pass_time(1)
    engine.hold()


@pytest.mark.parametrize(("used", "free"), [(0, 0), (200, 50)])
def test_a_truth_that_comes_after_the_window_corrects_nothing(engine: Engine, used: int, free: int) -> None:
    engine.enforce(limit("tokens", 100))
    request_id = engine.hold(tokens=100)
    engine.pass_time(61_000)  # the same slot of the ring
    engine.hold(tokens=100 - free)

    engine.post(request_id, tokens=used)

    assert isinstance(engine.reserve(tokens=free + 1), Denied)
    if free:
        engine.hold(tokens=free)


def test_what_left_while_nobody_called_is_forgotten_once_wherever_in_the_ring_it_lay(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    for _ in range(61):
        engine.pass_time(3 * MINUTE_MS + 1000)  # each turn begins one slot further on
        engine.hold(tokens=50)
        engine.pass_time(59_000)
        engine.hold(tokens=10)
        engine.pass_time(7_000)
        engine.hold(tokens=30)
        engine.pass_time(56_000)  # to the slot of the 50 again, which are long gone

        assert isinstance(engine.reserve(tokens=71), Denied)
        engine.hold(tokens=70)


def test_a_truth_that_comes_after_the_lease_still_corrects_its_window(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    request_id = engine.hold(tokens=100, lease_ms=1000)
    engine.pass_time(1000)
    engine.store.expire_due(engine.organization)
    assert isinstance(engine.reserve(tokens=1), Denied)

    assert engine.post(request_id, tokens=40) == "adjusted"

    engine.hold(tokens=60)
    assert isinstance(engine.reserve(tokens=1), Denied)


def test_a_call_that_used_more_than_it_said_is_counted_in_full(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    engine.post(engine.hold(tokens=10), tokens=95)

    assert isinstance(engine.reserve(tokens=6), Denied)
    engine.hold(tokens=5)


def test_a_voided_call_gives_its_tokens_back_and_stays_a_request(engine: Engine) -> None:
    engine.enforce(limit("requests", 1), limit("tokens", 10))
    engine.void(engine.hold())

    refused = engine.reserve()

    assert isinstance(refused, Denied)
    assert refused.check.unit == "requests"


def test_a_shadow_limit_counts_and_reports_and_never_refuses(engine: Engine) -> None:
    engine.enforce(limit("requests", 1, shadow=True))
    engine.hold()

    answer = engine.reserve()

    assert isinstance(answer, Granted)
    assert answer.shadow_refusals == ("team limit of requests per minute",)
    assert answer.limits[0].remaining == 0


@pytest.mark.parametrize("step_ms", [1, 700, 3_600_000, 86_400_000])
def test_a_clock_set_back_neither_admits_twice_nor_locks_out(engine: Engine, step_ms: int) -> None:
    engine.enforce(limit("requests", 5))
    for _ in range(5):
        engine.hold()
    engine.pass_time(30_000)
    assert isinstance(engine.reserve(), Denied)

    engine.go_to(engine.now_ms - step_ms)

    refused = engine.reserve()
    assert isinstance(refused, Denied)
    assert refused.retry_after_ms is not None
    assert refused.retry_after_ms <= 61_000 * 1.02
    engine.pass_time(refused.retry_after_ms)
    for _ in range(5):
        engine.hold()
    assert isinstance(engine.reserve(), Denied)


def test_a_clock_set_forward_and_back_keeps_corrections_in_their_slice(engine: Engine) -> None:
    engine.enforce(limit("tokens", 100))
    engine.go_to(START_MS + 3_600_000)
    request_id = engine.hold(tokens=100)
    engine.go_to(START_MS)
    assert isinstance(engine.reserve(tokens=1), Denied)

    engine.post(request_id, tokens=30)

    engine.hold(tokens=70)
    assert isinstance(engine.reserve(tokens=1), Denied)


def test_the_largest_counts_are_exact(engine: Engine) -> None:
    engine.enforce(limit("tokens", MAX_CAP_NUSD))

    engine.hold(tokens=MAX_CAP_NUSD - 1)
    assert isinstance(engine.reserve(tokens=2), Denied)
    engine.hold(tokens=1)
    assert isinstance(engine.reserve(tokens=1), Denied)


def test_a_changed_limit_counts_on_the_next_call(engine: Engine) -> None:
    engine.enforce(limit("requests", 2))
    engine.hold()
    engine.hold()
    engine.enforce(limit("requests", 3))

    engine.hold()

    engine.enforce(limit("requests", 1))
    assert isinstance(engine.reserve(), Denied)
