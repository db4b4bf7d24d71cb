"""The store's rarer calls: what a rebuild asks of Redis and tells it."""

from __future__ import annotations

import time

import msgspec

from kong_plugins.llm.journal import Held, HeldBudget
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Granted, Unready
from kong_plugins.llm.names import budget_name
from kong_plugins.llm.recovery import CounterPlace, Difference, Recovery
from kong_plugins.llm.release import Budget, Scope
from tests.llm.cast import principal
from tests.llm.store.engine import Engine, budget

MONEY = budget()
USER = Scope(kind="user", subject=None)


def place(engine: Engine, rule: Budget = MONEY) -> CounterPlace:
    return CounterPlace(rule.id, "search", engine.period_name(rule))


def lasts_ms(engine: Engine, place: CounterPlace) -> int:
    return int(engine.redis.pttl(budget_name(engine.organization, place.budget, place.subject, place.period)))


def speaker(engine: Engine) -> Principal:
    """Alice, by a key that may speak for her."""
    return principal(organization=engine.organization, user="alice", speaks_for_users=True)


def test_closed_admission_admits_nothing_until_it_is_opened_again(engine: Engine) -> None:
    recovery = Recovery(engine.store)
    engine.enforce()
    assert recovery.state(engine.organization).epoch == 1

    recovery.close_admission(engine.organization)
    assert engine.reserve() == Unready(reason="not_ready")
    assert recovery.state(engine.organization).epoch is None

    recovery.open_admission(engine.organization, 2, replay_since_ms=77)
    assert isinstance(engine.reserve(), Granted)
    state = recovery.state(engine.organization)
    assert (state.epoch, state.replay_since_ms) == (2, 77)


def test_the_sequence_of_events_goes_on_where_the_ledger_ends_and_never_back(engine: Engine) -> None:
    recovery = Recovery(engine.store)

    for seq in (40, 30):
        recovery.continue_sequence(engine.organization, seq)
        assert recovery.state(engine.organization).seq == 40


def test_a_difference_is_counted_once_by_the_name_of_its_event(engine: Engine) -> None:
    recovery = Recovery(engine.store)
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 1000)

    counted = [recovery.adjust(engine.organization, "r1:1", [Difference(place(engine), 600)]) for _ in range(2)]

    assert counted == [True, False]
    assert engine.state(MONEY) == (600, 0)
    assert [event.percent for event in engine.thresholds()] == [50]


def test_a_difference_is_counted_for_a_tiers_share_and_for_a_subject_that_nobody_foresaw(engine: Engine) -> None:
    recovery = Recovery(engine.store)
    pool, users = budget(tier_shares_percent={"experimental": 50}), budget(id="users", scope=USER, each_cap=1000)
    engine.enforce(pool, users)
    engine.set_cap(pool, 1000)
    whole, alice = place(engine, pool), CounterPlace(users.id, "alice", engine.period_name(users))
    share = CounterPlace(whole.budget, whole.subject, whole.period, "experimental")
    in_a_day_ms = time.time_ns() // 1_000_000 + 86_400_000

    differences = [Difference(whole, 300), Difference(share, 200), Difference(alice, 70, in_a_day_ms)]
    assert recovery.adjust(engine.organization, "r1:1", differences)

    assert recovery.spent_at(engine.organization, [whole, share, alice]) == ([300, 200, 70], 0)
    assert lasts_ms(engine, whole) == -1, "for good"
    assert 0 < lasts_ms(engine, alice) <= 86_400_000
    engine.hold(principal=speaker(engine))
    assert engine.state(users, subject="alice") == (70, 100)


def test_a_hold_that_is_restored_holds_in_its_tiers_share_again(engine: Engine) -> None:
    pool = budget(tier_shares_percent={"experimental": 50})
    engine.enforce(pool)
    engine.set_cap(pool, 1000)
    period = engine.period_name(pool)
    held = Held(
        organization=engine.organization,
        request_id="lost-1",
        lease_ends_at_ms=engine.now_ms + 60_000,
        reserved_at_ms=engine.now_ms,
        hold_nusd=80,
        hold_tokens=10,
        budgets=tuple(HeldBudget(pool.id, "search", period, "nusd", 80, tier) for tier in (None, "experimental")),
        draft=msgspec.Raw(b"{}"),
    )

    assert Recovery(engine.store).restore(held)

    def share() -> tuple[int, int]:
        state = engine.store.budget_state(engine.organization, pool.id, "search", period, tier="experimental")
        assert state is not None
        return state.spent, state.held

    assert (engine.state(pool), share()) == ((0, 80), (0, 80))
    engine.post("lost-1", amount_nusd=50)
    assert (engine.state(pool), share()) == ((0, 0), (0, 0)), "it is counted when the ledger takes it"


def test_what_was_never_counted_is_told_apart_from_nothing(engine: Engine) -> None:
    engine.enforce(MONEY)
    nowhere = CounterPlace(MONEY.id, "nobody", "month-2026-03-01")

    assert Recovery(engine.store).spent_at(engine.organization, [nowhere]) == ([None], 0)


def test_counters_are_told_only_when_the_ledger_has_taken_every_event(engine: Engine) -> None:
    recovery = Recovery(engine.store)
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 10_000)
    engine.post(engine.hold(), amount_nusd=100)

    def told() -> list[int] | None:
        return recovery.spent_when_drained(engine.organization, [place(engine)])

    assert told() is None
    entries = engine.store.read_events(engine.organization, "ledger-1", most=10, block_ms=1)
    assert told() is None
    engine.store.ack_events(engine.organization, [entry.entry_id for entry in entries])
    assert told() == [100]


def test_a_hold_without_a_known_price_is_restored_without_one(engine: Engine) -> None:
    recovery = Recovery(engine.store)
    engine.enforce(MONEY)
    engine.set_cap(MONEY, 1000)
    held = Held(
        organization=engine.organization,
        request_id="r1",
        lease_ends_at_ms=engine.now_ms + 1,
        reserved_at_ms=engine.now_ms - 1000,
        hold_nusd=None,
        hold_tokens=10,
        budgets=(HeldBudget(MONEY.id, "search", engine.period_name(MONEY), "nusd", 0),),
        draft=msgspec.Raw(engine.fields_of("r1")),
    )

    assert [recovery.restore(held), recovery.restore(held)] == [True, False]

    engine.pass_time(1)
    assert engine.store.expire_due(engine.organization) == 1
    [event] = engine.usage()
    assert (event.kind, event.quality, event.amount_nusd, event.uncounted) == ("expired", "unpriced", None, True)
