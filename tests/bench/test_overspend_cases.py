"""Which cases bench-overspend tries."""

from __future__ import annotations

from bench.faults import FAULTS
from bench.overspend import all_cases, chosen


def test_every_number_of_gateways_is_tried_plain_and_streamed_with_and_without_max_tokens() -> None:
    shapes = {(case.gateways, case.stream, case.max_tokens) for case in all_cases() if case.fault == "none"}

    assert len(shapes) == 3 * 2 * 2


def test_every_fault_is_tried_plain_and_streamed_with_and_without_max_tokens() -> None:
    shapes = {(case.fault, case.stream, case.max_tokens) for case in all_cases() if case.fault != "none"}

    assert len(shapes) == len(FAULTS) * 2 * 2


def test_every_fault_is_tried_with_every_number_of_gateways() -> None:
    assert {(case.gateways, case.fault) for case in all_cases() if case.fault != "none"} == {
        (gateways, fault) for gateways in (1, 2, 4) for fault in FAULTS
    }


def test_a_part_is_chosen_by_words_that_all_stand_in_its_name() -> None:
    found = chosen(all_cases(), ["2 gateways", "streamed", "redis"])

    assert {(case.gateways, case.stream, case.fault) for case in found} == {(2, True, "redis restarted")}
    assert chosen(all_cases(), []) == all_cases()


def test_a_case_without_max_tokens_leaves_them_out() -> None:
    bodies = {case.max_tokens: case.body() for case in all_cases()}

    assert bodies[True]["max_tokens"] == 100
    assert "max_tokens" not in bodies[False]
