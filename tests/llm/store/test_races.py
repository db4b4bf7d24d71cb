"""What may happen at once: a hundred threads at one limit, and every end of a hold at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TypeVar

import pytest

from kong_plugins.llm.limits import Failing, Granted
from kong_plugins.llm.release import Budget, Limit
from tests.llm.store.engine import Engine, budget, limit

_Result = TypeVar("_Result")
THREADS = 100
HOUR_MS = 3_600_000


def at_once(work: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Do everything in a thread each, all from the same moment on."""
    barrier = Barrier(len(work))

    def one(each: Callable[[], _Result]) -> _Result:
        barrier.wait()
        return each()

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(one, work))


@pytest.mark.parametrize(
    ("rule", "granted"),
    [
        (limit("requests", 5, window_ms=HOUR_MS), 5),
        (limit("tokens", 59, window_ms=HOUR_MS), 5),
        (limit("concurrency", 5), 5),
        (budget("nusd", "total"), 5),
        (budget("tokens", "total"), 59),
        (budget("requests", "total"), 100),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_a_hundred_threads_get_what_there_is_and_no_more(real_time: Engine, rule: Limit | Budget, granted: int) -> None:
    real_time.enforce(rule)
    if isinstance(rule, Budget):
        real_time.set_cap(rule, 599)
    reservations = [real_time.reservation() for _ in range(THREADS)]

    answers = at_once([partial(real_time.store.reserve, each) for each in reservations])

    assert sum(isinstance(answer, Granted) for answer in answers) == granted


def test_the_same_request_from_many_threads_is_one_hold(real_time: Engine) -> None:
    rule = budget("nusd", "total")
    real_time.enforce(rule)
    real_time.set_cap(rule, 1000)
    reservation = real_time.reservation()

    answers = at_once([lambda: real_time.store.reserve(reservation)] * 20)

    assert all(answer == answers[0] for answer in answers)
    assert real_time.state(rule) == (0, 100)


def test_of_all_ends_of_a_hold_one_counts(real_time: Engine) -> None:
    rule = budget("nusd", "total")
    real_time.enforce(rule)
    real_time.set_cap(rule, 10_000)
    ids = [real_time.hold(lease_ms=1) for _ in range(25)]
    ends: list[Callable[[], object]] = []
    for request_id in ids:
        ends += [partial(real_time.post, request_id, amount_nusd=70)] * 2
        ends.append(partial(real_time.void, request_id))
        ends.append(partial(real_time.store.expire_due, real_time.organization, most=1))

    at_once(ends)

    chains = Counter(event.request_id for event in real_time.usage() if event.kind != "adjusted")
    assert chains == Counter(ids)
    spent, held = real_time.state(rule)
    assert held == 0
    assert spent == sum(event.amount_nusd or 0 for event in real_time.usage())
    assert real_time.store.open_holds(real_time.organization) == 0


def test_a_cap_is_never_exceeded_while_calls_come_and_go(real_time: Engine) -> None:
    rule = budget("nusd", "total")
    real_time.enforce(rule)
    real_time.set_cap(rule, 1000)

    def calls() -> None:
        for _ in range(10):
            reservation = real_time.reservation(cost_nusd=100, floor_nusd=30)
            answer = real_time.store.reserve(reservation)
            spent, held = real_time.state(rule)
            assert spent + held <= 1000
            if isinstance(answer, Granted):
                real_time.post(reservation.request_id, amount_nusd=answer.granted_nusd // 3)

    at_once([calls] * 16)

    spent, held = real_time.state(rule)
    assert held == 0
    assert 970 < spent <= 1000


def test_a_crowd_that_a_deployment_fails_at_once_marks_it_once(real_time: Engine) -> None:
    def fail() -> bool:
        return real_time.end_at("main", "failed", reserved_at_ms=0)

    assert Counter(at_once([fail] * 50)) == {True: 1, False: 49}

    mark = real_time.mark_of("main")
    assert mark is not None
    assert (mark.failures, mark.until_ms - mark.marked_at_ms) == (1, 1000)


def test_of_a_crowd_at_the_end_of_a_mark_one_call_tries(real_time: Engine) -> None:
    real_time.enforce()
    real_time.end_at("main", "failed", reserved_at_ms=0, asked_ms=0)
    calls = [real_time.reservation(deployment="main", others=("spare",), is_last=False) for _ in range(50)]

    answers = at_once([partial(real_time.store.reserve, call) for call in calls])

    assert sum(isinstance(answer, Granted) for answer in answers) == 1
    assert answers.count(Failing()) == 49
