"""A probe: the answer that a call would get now, by the script that would decide on it, and not a trace of it."""

from __future__ import annotations

import pytest
import redis

from kong_plugins.llm.limits import Denied, Granted, Unready
from tests.llm.store.engine import START_MS, Engine, budget, limit


def contents(engine: Engine) -> dict[bytes, bytes | None]:
    """All that Redis holds of the organization."""
    names = sorted(engine.redis.keys(f"bursar:{{{engine.organization}}}:*"))
    return {name: engine.redis.dump(name) for name in names}


def test_a_probe_gets_the_answer_of_the_call_and_leaves_no_trace(engine: Engine) -> None:
    rules = (limit("requests", 2), limit("tokens", 100), limit("concurrency", 5), budget())
    engine.enforce(*rules)
    engine.set_cap(rules[3], 250)
    engine.hold()
    before = contents(engine)

    asked = engine.reserve(probe=True)

    assert contents(engine) == before
    assert asked == engine.reserve()


@pytest.mark.parametrize(
    ("limits", "cap"), [((limit("requests", 1),), 10_000), ((limit("tokens", 5),), 10_000), ((), 150)]
)
def test_a_refused_probe_counts_no_refusal_and_fires_no_threshold(
    engine: Engine, limits: tuple[object, ...], cap: int
) -> None:
    money = budget()
    engine.enforce(money)
    engine.set_cap(money, cap)
    engine.hold()
    engine.enforce(money, *limits)  # type: ignore[arg-type]
    if limits:
        engine.reserve()
        # It would be gone within a second anyway.
        engine.redis.delete(f"bursar:{{{engine.organization}}}:refusals")
    before = contents(engine)

    asked = engine.reserve(probe=True)

    assert contents(engine) == before
    assert isinstance(asked, Denied)
    assert asked == engine.reserve()


def test_a_probe_of_a_clock_that_was_set_back_writes_nothing_either(engine: Engine) -> None:
    engine.enforce(limit("requests", 1))
    engine.hold()
    engine.go_to(START_MS - 30_000)
    before = contents(engine)

    assert isinstance(engine.reserve(probe=True), Denied)
    assert contents(engine) == before


def test_what_cannot_be_decided_cannot_be_probed(engine: Engine, client: redis.Redis) -> None:
    engine.enforce(budget())

    assert engine.reserve(probe=True) == Unready(reason="no_period")


def test_a_refusal_tells_how_every_limit_stands_and_when_it_is_free_again(engine: Engine) -> None:
    engine.enforce(limit("requests", 2), limit("tokens", 1000), limit("concurrency", 9))
    engine.hold()
    engine.pass_time(20_000)
    engine.hold()

    denied = engine.reserve()

    assert isinstance(denied, Denied)
    assert [(state.check.unit, state.remaining) for state in denied.limits] == [
        ("requests", 0),
        ("tokens", 980),
        ("concurrency", 7),
    ]
    requests, tokens, concurrency = denied.limits
    assert denied.retry_after_ms is not None
    assert 40_000 < denied.retry_after_ms <= 41_000
    assert requests.reset_ms == tokens.reset_ms
    assert 60_000 < requests.reset_ms <= 61_000
    assert concurrency.reset_ms == 0


def test_an_untouched_limit_is_free_already(engine: Engine) -> None:
    engine.enforce(limit("requests", 1), limit("tokens", 1000, scope=budget().scope))
    engine.hold(tokens=0)

    denied = engine.reserve(probe=True)

    assert isinstance(denied, Denied)
    assert [(state.remaining, state.reset_ms > 0) for state in denied.limits] == [(0, True), (1000, False)]


def test_after_the_wait_that_was_told_the_call_is_admitted_and_a_moment_earlier_not(engine: Engine) -> None:
    engine.enforce(limit("requests", 1))
    engine.pass_time(777)
    engine.hold()
    engine.pass_time(12_345)
    denied = engine.reserve(probe=True)
    assert isinstance(denied, Denied)
    assert denied.retry_after_ms is not None

    engine.pass_time(denied.retry_after_ms - 1)
    assert isinstance(engine.reserve(probe=True), Denied)
    engine.pass_time(1)
    assert isinstance(engine.reserve(), Granted)
