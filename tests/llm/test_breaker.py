"""A Redis that does not answer is asked by one call a second, and one that answers is kept from nobody."""

from __future__ import annotations

import pytest

from kong_plugins.llm.breaker import Breaker
from kong_plugins.llm.errors import StoreNotAsked

LONGEST_PING_S = 4.0


class Redis:
    """One that answers or does not, by a clock that the test sets; it counts the pings."""

    def __init__(self) -> None:
        self.answers = False
        self.pings = 0
        self.now_s = 100.0
        self.breaker = Breaker(self.ping, longest_ping_s=LONGEST_PING_S, now_s=lambda: self.now_s)

    def ping(self) -> bool:
        self.pings += 1
        return self.answers

    def is_asked(self) -> bool:
        try:
            self.breaker.check()
        except StoreNotAsked:
            return False
        return True


@pytest.fixture
def redis() -> Redis:
    return Redis()


def test_as_long_as_calls_are_answered_nobody_pings(redis: Redis) -> None:
    assert redis.is_asked()
    redis.breaker.answered()
    assert redis.is_asked()

    assert redis.pings == 0


def test_after_a_failure_one_call_a_second_looks_and_the_others_fail_at_once(redis: Redis) -> None:
    redis.breaker.failed()

    for _ in range(3):
        assert [redis.is_asked() for _ in range(10)] == [False] * 10
        redis.now_s += 1

    assert redis.pings == 3


def test_calls_that_were_under_way_put_off_no_look(redis: Redis) -> None:
    redis.breaker.failed()
    assert not redis.is_asked()
    redis.now_s += 0.9
    redis.breaker.failed()
    redis.now_s += 0.1
    redis.answers = True

    assert redis.is_asked()


def test_a_redis_that_is_back_is_asked_within_a_second(redis: Redis) -> None:
    redis.breaker.failed()
    assert not redis.is_asked()
    redis.answers = True
    redis.now_s += 1

    assert redis.is_asked()
    assert redis.is_asked()
    assert redis.pings == 2


def test_a_call_that_alone_takes_too_long_keeps_no_other_away(redis: Redis) -> None:
    redis.answers = True

    for _ in range(5):
        redis.breaker.failed()
        assert redis.is_asked()


def test_an_answer_to_any_call_ends_it_without_a_look(redis: Redis) -> None:
    redis.breaker.failed()
    assert not redis.is_asked()

    redis.breaker.answered()

    assert redis.is_asked()
    assert redis.pings == 1


def test_while_one_looks_the_others_do_not(redis: Redis) -> None:
    others: list[bool] = []

    def ping() -> bool:
        others.append(redis.is_asked())
        return True

    redis.breaker = Breaker(ping, longest_ping_s=LONGEST_PING_S, now_s=lambda: redis.now_s)
    redis.breaker.failed()

    assert redis.is_asked()
    assert others == [False]


def test_a_look_that_never_ends_is_taken_over(redis: Redis) -> None:
    class Killed(BaseException):
        """What ends a greenlet in the middle of its ping."""

    def ping() -> bool:
        if redis.answers:
            return True
        raise Killed

    redis.breaker = Breaker(ping, longest_ping_s=LONGEST_PING_S, now_s=lambda: redis.now_s)
    redis.breaker.failed()
    with pytest.raises(Killed):
        redis.breaker.check()
    redis.answers = True

    assert not redis.is_asked()
    redis.now_s += LONGEST_PING_S
    assert redis.is_asked()


def test_a_ping_that_fails_after_others_were_answered_shuts_nobody_out(redis: Redis) -> None:
    def ping() -> bool:
        redis.breaker.answered()
        return False

    redis.breaker = Breaker(ping, longest_ping_s=LONGEST_PING_S, now_s=lambda: redis.now_s)
    redis.breaker.failed()

    assert not redis.is_asked()
    assert redis.is_asked()
