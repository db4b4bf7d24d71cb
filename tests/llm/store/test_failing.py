"""Failing deployments: marked for all gateways, passed over for others, and tried by one call before the rest."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.llm.limits import Denied, Failing, Granted
from tests.llm.store.engine import START_MS, Engine, budget, limit
from tests.llm.store.test_probes import contents

PAIR: dict[str, Any] = {"deployment": "main", "others": ("spare",), "is_last": False}
SECOND_MS = 1000


@pytest.fixture
def pair(engine: Engine) -> Engine:
    """An engine whose deployment `main` fails for a second from now on."""
    engine.enforce()
    fail(engine)
    return engine


def fail(engine: Engine, deployment: str = "main", **changes: Any) -> bool:
    """A call that was admitted just now fails."""
    engine.pass_time(1)
    return engine.end_at(deployment, "failed", **changes)


def passed_over_ms(engine: Engine, deployment: str = "main") -> int:
    mark = engine.mark_of(deployment)
    assert mark is not None
    return mark.until_ms - engine.now_ms


def granted(engine: Engine, **changes: Any) -> Granted:
    answer = engine.reserve(**(PAIR | changes))
    assert isinstance(answer, Granted), answer
    return answer


# What is passed over.


def test_a_deployment_that_fails_is_passed_over_until_its_mark_ends(pair: Engine) -> None:
    assert pair.reserve(**PAIR) == Failing()
    pair.pass_time(SECOND_MS - 1)
    assert pair.reserve(**PAIR) == Failing()
    pair.pass_time(1)

    assert granted(pair).is_marked


def test_what_is_passed_over_leaves_no_trace(pair: Engine) -> None:
    before = contents(pair)

    assert pair.reserve(**PAIR) == Failing()

    assert contents(pair) == before


@pytest.mark.parametrize("others", [(), ("spare",)])
def test_where_all_are_marked_the_first_goes_on_as_before(pair: Engine, others: tuple[str, ...]) -> None:
    fail(pair, "spare")

    answer = granted(pair, others=others)

    assert (answer.is_marked, answer.has_other) == (True, False)


def test_a_call_that_would_not_fit_anyway_is_refused_as_before(pair: Engine) -> None:
    pair.enforce(limit("requests", 1))
    pair.hold()

    assert isinstance(pair.reserve(**PAIR), Denied)


def test_a_grant_says_whether_another_deployment_could_be_tried(engine: Engine) -> None:
    engine.enforce()

    assert (granted(engine).is_marked, granted(engine).has_other) == (False, True)
    assert not granted(engine, others=()).has_other
    fail(engine, "spare")
    assert not granted(engine).has_other
    assert granted(engine, others=("spare", "third")).has_other
    assert granted(engine, others=("third", "spare")).has_other
    assert granted(engine, deployment="third", others=("main",)).has_other


def test_the_marks_of_one_organization_are_nothing_to_another(pair: Engine) -> None:
    other = Engine.anew(pair.redis)
    other.enforce()

    assert not granted(other).is_marked
    assert other.marks.all(other.organization) == {}


def test_a_repeated_reservation_gets_its_first_answer_whatever_has_been_marked_since(engine: Engine) -> None:
    engine.enforce()
    reservation = engine.reservation(**PAIR)
    first = engine.store.reserve(reservation)

    fail(engine)

    assert engine.store.reserve(reservation) == first


# Who tries a deployment.


def test_after_a_mark_has_ended_one_call_tries_for_all(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)

    first = granted(pair, request_id="trial")

    assert (first.is_marked, first.has_other) == (True, True)
    assert [pair.reserve(**PAIR) for _ in range(3)] == [Failing()] * 3


def test_who_is_tried_by_one_is_no_other_candidate_for_the_rest(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    before, _ = granted(pair, deployment="spare", others=("main",)), granted(pair)

    assert before.has_other
    assert not granted(pair, deployment="spare", others=("main",)).has_other


def test_a_trial_that_succeeds_ends_the_mark(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    trial = granted(pair, request_id="trial")
    pair.pass_time(5)

    assert pair.end_at("main", "succeeded", request_id="trial", reserved_at_ms=trial.reserved_at_ms)

    assert pair.mark_of("main") is None
    assert not granted(pair).is_marked


def test_a_trial_that_fails_makes_the_next_mark_longer(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    trial = granted(pair, request_id="trial")

    assert pair.end_at("main", "failed", request_id="trial", reserved_at_ms=trial.reserved_at_ms)

    assert passed_over_ms(pair) == 2 * SECOND_MS
    pair.pass_time(2 * SECOND_MS)
    assert granted(pair).is_marked


def test_a_trial_that_says_nothing_is_left_to_the_next_call(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    trial = granted(pair, request_id="trial")
    assert not pair.end_at("main", "neither", request_id="another", reserved_at_ms=pair.now_ms)
    assert pair.reserve(**PAIR) == Failing()

    assert not pair.end_at("main", "neither", request_id="trial", reserved_at_ms=trial.reserved_at_ms)

    assert granted(pair).is_marked
    assert pair.reserve(**PAIR) == Failing()


def test_a_call_that_has_nowhere_else_to_go_takes_nobodys_trial(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    trial = granted(pair, request_id="trial")
    granted(pair, is_last=True, others=())

    pair.end_at("main", "neither", request_id="trial", reserved_at_ms=trial.reserved_at_ms)

    assert granted(pair).is_marked, "the next call tries"


def test_the_end_of_a_trial_is_not_waited_for_for_ever(pair: Engine) -> None:
    """Its meter may have been killed."""
    pair.pass_time(SECOND_MS)
    granted(pair)
    pair.pass_time(29_999)
    assert pair.reserve(**PAIR) == Failing()
    pair.pass_time(1)

    assert granted(pair).is_marked
    assert pair.reserve(**PAIR) == Failing()


def test_a_probe_is_no_trial(pair: Engine) -> None:
    assert pair.reserve(**PAIR, probe=True) == Failing()
    pair.pass_time(SECOND_MS)
    before = contents(pair)

    assert granted(pair, probe=True).is_marked

    assert contents(pair) == before
    assert granted(pair).is_marked


# How long a mark lasts.


def test_failures_in_a_row_make_a_mark_longer_up_to_a_minute(engine: Engine) -> None:
    engine.enforce()
    lasting = []
    for _ in range(8):
        assert fail(engine)
        lasting.append(passed_over_ms(engine))
        engine.pass_time(lasting[-1])

    assert lasting == [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    mark = engine.mark_of("main")
    assert mark is not None
    assert (mark.since_ms, mark.failures, mark.status) == (START_MS + 1, 8, 503)


def test_after_a_success_the_times_are_short_again(pair: Engine) -> None:
    fail(pair)
    pair.pass_time(1)
    assert pair.end_at("main", "succeeded")

    fail(pair)

    assert passed_over_ms(pair) == SECOND_MS


def test_what_the_provider_asks_for_is_what_counts(engine: Engine) -> None:
    engine.enforce()
    fail(engine, asked_ms=20_000)
    assert passed_over_ms(engine) == 20_000
    engine.pass_time(20_000)

    fail(engine, asked_ms=1500, status=429)

    assert passed_over_ms(engine) == 1500
    mark = engine.mark_of("main")
    assert mark is not None
    assert (mark.failures, mark.status) == (2, 429)


def test_no_failure_makes_a_mark_shorter(engine: Engine) -> None:
    fail(engine, asked_ms=20_000)

    fail(engine)

    assert passed_over_ms(engine) == 20_000 - 1


def test_a_crowd_that_fails_at_once_counts_as_one_failure(engine: Engine) -> None:
    """They were all on their way when the first of them failed."""
    admitted_at_ms = engine.now_ms
    noted = []
    for _ in range(50):
        engine.pass_time(10)
        noted.append(engine.end_at("main", "failed", reserved_at_ms=admitted_at_ms))

    assert noted == [True] + [False] * 49
    mark = engine.mark_of("main")
    assert mark is not None
    assert (mark.failures, mark.until_ms) == (1, START_MS + 10 + SECOND_MS)


def test_of_a_crowd_the_longest_time_that_the_provider_asks_for_counts(engine: Engine) -> None:
    admitted_at_ms = engine.now_ms
    for asked_ms in (None, 7000, 3000):
        engine.end_at("main", "failed", reserved_at_ms=admitted_at_ms, asked_ms=asked_ms)

    assert passed_over_ms(engine) == 7000


def test_a_success_that_began_before_the_failures_says_nothing_of_now(engine: Engine) -> None:
    """A long stream may go on while nobody else gets an answer."""
    admitted_at_ms = engine.now_ms
    fail(engine)

    assert not engine.end_at("main", "succeeded", reserved_at_ms=admitted_at_ms)

    assert engine.mark_of("main") is not None


def test_a_success_within_the_millisecond_of_the_mark_that_it_was_let_pass_in_spite_of_takes_the_mark_away(
    engine: Engine,
) -> None:
    fail(engine)
    mark = engine.mark_of("main")
    assert mark is not None

    assert engine.end_at("main", "succeeded", reserved_at_ms=mark.marked_at_ms)

    assert engine.mark_of("main") is None


@pytest.mark.parametrize("ending", ["succeeded", "neither"])
def test_what_goes_on_at_a_deployment_that_is_not_marked_is_no_news(engine: Engine, ending: Any) -> None:
    assert not engine.end_at("main", ending)

    assert engine.marks.all(engine.organization) == {}


def test_a_late_failure_leaves_the_trial_of_another_call_alone(pair: Engine) -> None:
    pair.pass_time(SECOND_MS)
    granted(pair)

    pair.end_at("main", "failed", reserved_at_ms=START_MS)

    assert pair.reserve(**PAIR) == Failing()
    mark = pair.mark_of("main")
    assert mark is not None
    assert mark.trial is not None


def test_a_mark_can_be_taken_away(pair: Engine) -> None:
    assert pair.marks.clear(pair.organization, "main")

    assert not pair.marks.clear(pair.organization, "main")
    assert not granted(pair).is_marked


def test_marks_that_nobody_adds_to_are_forgotten_in_the_end(pair: Engine) -> None:
    left_ms = pair.redis.pttl(f"bursar:{{{pair.organization}}}:failing")

    assert 6 * 86_400_000 < left_ms <= 7 * 86_400_000


@pytest.mark.parametrize("asked_ms", [-1, 86_400_001])
def test_no_deployment_is_passed_over_for_longer_than_a_day(engine: Engine, asked_ms: int) -> None:
    with pytest.raises(ValueError, match="not so long"):
        fail(engine, asked_ms=asked_ms)


def test_what_is_held_for_a_trial_is_held_as_for_every_call(pair: Engine) -> None:
    money = budget()
    pair.enforce(money)
    pair.set_cap(money, 1000)
    assert pair.reserve(**PAIR) == Failing()
    assert pair.state(money) == (0, 0)
    pair.pass_time(SECOND_MS)

    granted(pair)

    assert pair.state(money) == (0, 100)
