"""The store's rarer calls: what a rebuild asks of Redis and tells it."""

from __future__ import annotations

import msgspec

from kong_plugins.llm.journal import Held, HeldBudget
from kong_plugins.llm.limits import Granted, Unready
from kong_plugins.llm.recovery import CounterPlace, Recovery
from kong_plugins.llm.release import Budget
from tests.llm.store.engine import Engine, budget

MONEY = budget()


def place(engine: Engine, rule: Budget = MONEY) -> CounterPlace:
    return CounterPlace(rule.id, "search", engine.period_name(rule))


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

    counted = [recovery.adjust(engine.organization, "r1:1", [(place(engine), 600)]) for _ in range(2)]

    assert counted == [True, False]
    assert engine.state(MONEY) == (600, 0)
    assert [event.percent for event in engine.thresholds()] == [50]


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
