"""How a period has ended: told only once it is over by Redis' clock and nothing of it is held."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from kong_plugins.llm.names import live_name
from kong_plugins.llm.store import PeriodEnd
from kong_plugins.llm.windows import period_at
from tests.llm.store.engine import START_MS, ZONE, Engine, budget

MONTH = budget()
MARCH = period_at("month", START_MS, ZoneInfo(ZONE))


def end_of_march(engine: Engine, subject: str = "search") -> PeriodEnd | None:
    return engine.store.period_end(engine.organization, MONTH.id, subject, MARCH.name, ended_at_ms=MARCH.end_ms)


def test_a_period_has_ended_when_redis_says_so(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1_000)
    engine.post(engine.hold(), amount_nusd=60)

    engine.go_to(MARCH.end_ms - 1)
    assert end_of_march(engine) is None
    engine.go_to(MARCH.end_ms)
    assert end_of_march(engine) == PeriodEnd(spent=60)


def test_a_call_that_was_admitted_in_it_keeps_it_open(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1_000)
    engine.go_to(MARCH.end_ms - 1)
    call = engine.hold()
    engine.go_to(MARCH.end_ms)
    assert end_of_march(engine) is None

    engine.post(call, amount_nusd=100)

    assert end_of_march(engine) == PeriodEnd(spent=100)


def test_a_call_that_never_reports_back_ends_it_in_full(engine: Engine) -> None:
    engine.enforce(MONTH)
    engine.set_cap(MONTH, 1_000)
    engine.go_to(MARCH.end_ms - 1)
    engine.hold(lease_ms=1_000)
    engine.go_to(MARCH.end_ms + 1_000)

    engine.store.expire_due(engine.organization)

    assert end_of_march(engine) == PeriodEnd(spent=100)


def test_counters_that_are_not_complete_tell_nothing(engine: Engine) -> None:
    engine.set_cap(MONTH, 1_000)
    engine.go_to(MARCH.end_ms)
    engine.redis.delete(live_name(engine.organization, "ready"))

    assert end_of_march(engine) is None


def test_a_period_that_is_not_known_has_spent_nobody_knows_what(engine: Engine) -> None:
    engine.go_to(MARCH.end_ms)

    assert end_of_march(engine) == PeriodEnd(spent=None)
