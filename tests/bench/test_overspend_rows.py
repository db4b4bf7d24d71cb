"""The bench's own arithmetic: what a case of bench-overspend came to, and when it has failed."""

from __future__ import annotations

from typing import Any

import pytest

from bench.overspend_rows import LedgerRow, Outcome

CAP_NUSD = 100_000_000
TRUE_COST_NUSD = 1_200_000
WHOLE_HOLD_NUSD = 10_440_000


def posted(count: int) -> list[LedgerRow]:
    return [LedgerRow(request_id=f"call-{n}", kind="posted", amount_nusd=TRUE_COST_NUSD) for n in range(count)]


def orphan(name: str, amount_nusd: int = WHOLE_HOLD_NUSD) -> LedgerRow:
    return LedgerRow(request_id=name, kind="expired", amount_nusd=amount_nusd)


def billed(*rows: LedgerRow) -> dict[str, int]:
    """The books of a provider that has billed each of these calls at its true cost."""
    return {row.request_id: TRUE_COST_NUSD for row in rows}


def outcome(ledger: list[LedgerRow], **fields: Any) -> Outcome:
    facts: dict[str, Any] = {
        "case": "1 gateway, plain, max_tokens",
        "fault": "none",
        "cap_nusd": CAP_NUSD,
        "true_cost_nusd": TRUE_COST_NUSD,
        "billed_nusd": billed(*ledger),
        "ledger": ledger,
        "counters": (sum(row.amount_nusd for row in ledger), 0),
    }
    return Outcome(**facts | fields)


def test_a_cap_of_ten_cents_affords_83_calls_of_0_12_cents() -> None:
    found = outcome(posted(83))

    assert found.row() == {
        "case": "1 gateway, plain, max_tokens",
        "fault": "none",
        "admitted": 83,
        "affordable": 83,
        "admitted_share": 1.0,
        "spent_nusd": 99_600_000,
        "overspend_nusd": -400_000,
    }
    assert found.failures() == []


def test_what_orphans_were_charged_is_not_there_for_others_and_they_are_not_admitted_either() -> None:
    ledger = [*posted(60), orphan("lost-1"), orphan("lost-2")]

    found = outcome(ledger, fault="llm-token-meter killed")

    assert found.affordable == (100_000_000 - 2 * 10_440_000) // 1_200_000 == 65
    assert found.admitted == 60
    assert found.failures() == []


def test_an_orphan_that_never_reached_the_provider_uses_up_the_cap_all_the_same() -> None:
    found = outcome([*posted(74), orphan("never-sent")], billed_nusd=billed(*posted(74)))

    assert (found.admitted, found.affordable) == (74, 74)


def test_a_truth_that_came_late_lowers_what_is_spent_but_made_no_room_in_time() -> None:
    correction = LedgerRow(request_id="late", kind="adjusted", amount_nusd=TRUE_COST_NUSD - WHOLE_HOLD_NUSD)

    found = outcome([*posted(70), orphan("late"), correction])

    assert found.spent_nusd == 71 * TRUE_COST_NUSD
    assert found.affordable == 74


def test_orphans_can_use_up_the_whole_cap() -> None:
    found = outcome([orphan(f"lost-{n}") for n in range(10)])

    assert (found.affordable, found.admitted, found.admitted_share) == (0, 0, 1.0)


@pytest.mark.parametrize(("books", "ledger"), [(84, 83), (83, 84)], ids=["books", "ledger"])
def test_spent_is_the_larger_of_books_and_ledger(books: int, ledger: int) -> None:
    found = outcome(posted(ledger), billed_nusd=billed(*posted(books)))

    assert found.overspend_nusd == 84 * TRUE_COST_NUSD - CAP_NUSD == 800_000
    assert "800000 nUSD more than the cap" in found.failures()[0]


def test_one_nano_dollar_over_the_cap_fails_and_the_cap_itself_does_not() -> None:
    assert outcome(posted(83), cap_nusd=83 * TRUE_COST_NUSD).failures() == []
    assert outcome(posted(83), cap_nusd=83 * TRUE_COST_NUSD - 1).failures() == ["1 nUSD more than the cap were spent"]


@pytest.mark.parametrize(
    ("fault", "admitted", "fails"),
    [("none", 75, False), ("none", 74, True), ("redis restarted", 67, False), ("redis restarted", 66, True)],
)
def test_nine_tenths_of_what_is_affordable_must_be_admitted_and_with_a_fault_eight(
    fault: str, admitted: int, fails: bool
) -> None:
    assert bool(outcome(posted(admitted), fault=fault).failures()) is fails


def test_a_call_that_the_ledger_does_not_know_is_no_settled_case_and_fails() -> None:
    found = outcome(posted(82), billed_nusd=billed(*posted(83)))

    assert not found.is_settled
    assert found.failures() == ["the ledger does not know 1 calls that the provider has billed"]


@pytest.mark.parametrize("counters", [(83 * TRUE_COST_NUSD, 1), (83 * TRUE_COST_NUSD - 1, 0), None])
def test_counters_that_still_hold_or_say_otherwise_than_the_ledger_fail(counters: tuple[int, int] | None) -> None:
    found = outcome(posted(83), counters=counters)

    assert not found.is_settled
    assert found.failures() == [f"the ledger says 99600000 nUSD, Redis {counters} spent and held"]


def test_a_case_is_settled_once_nothing_is_held_and_the_ledger_has_it_all() -> None:
    assert outcome(posted(83)).is_settled
