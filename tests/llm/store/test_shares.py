"""Shares: of what all use together, a tier uses its part at most, so that experiments cannot starve production."""

from __future__ import annotations

from typing import Any

from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Denied, Granted, Waiting
from kong_plugins.llm.release import Limit
from tests.llm.cast import principal
from tests.llm.store.engine import LEASE_MS, Engine, budget, limit

SHARES: dict[Any, int] = {"experimental": 20, "normal": 60}


def of_tier(engine: Engine, tier: Any) -> Principal:
    return principal(organization=engine.organization, tier=tier)


def admitted(engine: Engine, tier: Any, attempts: int, **call: Any) -> int:
    who = of_tier(engine, tier)
    return sum(isinstance(engine.reserve(principal=who, **call), Granted) for _ in range(attempts))


def test_experiments_at_fifty_times_their_load_leave_production_its_part(engine: Engine) -> None:
    pool = limit("requests", 50, tier_shares_percent=SHARES)
    engine.enforce(pool)

    assert admitted(engine, "experimental", 500) == 10
    assert admitted(engine, "critical", 100) == 40


def test_a_pool_is_used_up_by_whoever_may_use_all_of_it(engine: Engine) -> None:
    engine.enforce(limit("requests", 50, tier_shares_percent=SHARES))

    assert admitted(engine, "critical", 100) == 50
    assert admitted(engine, "experimental", 1) == 0


def test_a_share_of_slots_is_free_again_when_its_calls_end(engine: Engine) -> None:
    slots = limit("concurrency", 10, tier_shares_percent=SHARES)
    engine.enforce(slots)
    who = of_tier(engine, "experimental")
    first, _ = engine.hold(principal=who), engine.hold(principal=who)
    assert isinstance(engine.reserve(principal=who), Denied)

    engine.post(first)

    assert isinstance(engine.reserve(principal=who), Granted)


def test_a_refusal_by_a_share_names_the_share(engine: Engine) -> None:
    engine.enforce(limit("requests", 5, tier_shares_percent=SHARES))
    engine.hold(principal=of_tier(engine, "experimental"))

    refused = engine.reserve(principal=of_tier(engine, "experimental"))

    assert isinstance(refused, Denied)
    assert refused.check.scope_name == "share of experimental keys in the team limit of requests per minute"
    assert refused.retry_after_ms is not None


def test_a_share_of_nothing_is_nothing(engine: Engine) -> None:
    engine.enforce(limit("requests", 5, tier_shares_percent={"experimental": 0}))

    refused = engine.reserve(principal=of_tier(engine, "experimental"))

    assert isinstance(refused, Denied)
    assert refused.retry_after_ms is None


def test_a_budget_is_shared_as_a_limit_is(engine: Engine) -> None:
    money = budget(tier_shares_percent=SHARES)
    engine.enforce(money)
    engine.set_cap(money, 1000)

    assert admitted(engine, "experimental", 50) == 2
    assert admitted(engine, "normal", 50) == 6
    assert admitted(engine, "critical", 50) == 2
    assert engine.state(money) == (0, 1000)


def test_a_share_counts_what_its_calls_have_really_cost(engine: Engine) -> None:
    money = budget(tier_shares_percent=SHARES)
    engine.enforce(money)
    engine.set_cap(money, 1000)
    who = of_tier(engine, "experimental")
    held = [engine.hold(principal=who), engine.hold(principal=who)]

    engine.post(held[0], amount_nusd=30)
    assert isinstance(engine.reserve(principal=who), Denied)
    engine.void(held[1])

    assert admitted(engine, "experimental", 5) == 1
    share = engine.store.budget_state(
        engine.organization, money.id, "search", engine.period_name(money), tier="experimental"
    )
    assert share is not None
    assert (share.spent, share.held) == (30, 100)


def test_a_share_that_expires_is_posted_in_full_and_corrected_by_the_late_truth(engine: Engine) -> None:
    money = budget(tier_shares_percent=SHARES)
    engine.enforce(money)
    engine.set_cap(money, 1000)
    who = of_tier(engine, "experimental")
    late = engine.hold(principal=who, cost_nusd=200)
    engine.pass_time(LEASE_MS)
    assert engine.store.expire_due(engine.organization) == 1
    assert isinstance(engine.reserve(principal=who), Denied)

    assert engine.post(late, amount_nusd=50) == "adjusted"

    assert admitted(engine, "experimental", 5) == 1
    assert engine.state(money) == (50, 100)


def test_a_partial_grant_stays_within_the_share(engine: Engine) -> None:
    money = budget(tier_shares_percent=SHARES)
    engine.enforce(money)
    engine.set_cap(money, 1000)

    granted = engine.reserve(principal=of_tier(engine, "experimental"), cost_nusd=900, floor_nusd=50)

    assert isinstance(granted, Granted)
    assert granted.granted_nusd == 200


def test_a_share_is_rounded_down(engine: Engine) -> None:
    money = budget(tier_shares_percent={"experimental": 50})
    engine.enforce(money)
    engine.set_cap(money, 201)

    assert admitted(engine, "experimental", 1, cost_nusd=101) == 0
    assert admitted(engine, "experimental", 1, cost_nusd=100) == 1


def test_a_raised_cap_raises_every_share(engine: Engine) -> None:
    money = budget(tier_shares_percent=SHARES)
    engine.enforce(money)
    engine.set_cap(money, 1000)
    assert admitted(engine, "experimental", 5) == 2

    engine.set_cap(money, 2000, version=2)

    assert admitted(engine, "experimental", 5) == 2


def test_those_who_wait_for_their_share_hold_up_no_other_tier(engine: Engine) -> None:
    slots: Limit = limit("concurrency", 5, tier_shares_percent=SHARES, queue_ms=30_000)
    engine.enforce(slots)
    engine.hold(principal=of_tier(engine, "experimental"))
    waits = engine.reserve(principal=of_tier(engine, "experimental"), may_wait=True)
    assert isinstance(waits, Waiting)

    assert admitted(engine, "normal", 5, may_wait=True) == 3
    assert admitted(engine, "critical", 5) == 1
