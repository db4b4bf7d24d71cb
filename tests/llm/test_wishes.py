"""What a caller asks for in headers: not to spend, not to wait, not to be served another model or a shorter answer."""

from __future__ import annotations

import pytest

from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.wishes import is_dry_run, max_wait_ms, may_degrade, takes_partial


def test_who_asks_for_nothing_is_served_waits_and_may_be_degraded_and_shortened() -> None:
    assert (is_dry_run({}), max_wait_ms({}), may_degrade({}), takes_partial({})) == (False, None, True, True)


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("0", False)])
def test_a_switch_is_on_or_off(value: str, is_on: bool) -> None:
    assert is_dry_run({"x-bursar-dry-run": [value]}) is is_on
    assert may_degrade({"x-bursar-degrade": [value]}) is is_on
    assert takes_partial({"x-bursar-partial": [value]}) is is_on


@pytest.mark.parametrize("values", [["yes"], [""], ["1", "1"], ["true"]])
def test_a_switch_that_is_unclear_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="must be 1 or 0"):
        is_dry_run({"x-bursar-dry-run": values})
    with pytest.raises(InvalidRequest, match="must be 1 or 0"):
        may_degrade({"x-bursar-degrade": values})
    with pytest.raises(InvalidRequest, match="must be 1 or 0"):
        takes_partial({"x-bursar-partial": values})


@pytest.mark.parametrize(("value", "longest_ms"), [("0", 0), ("1500", 1500), ("999999999", 999_999_999)])
def test_a_wait_has_a_longest_time_in_milliseconds(value: str, longest_ms: int) -> None:
    assert max_wait_ms({"x-bursar-max-wait-ms": [value]}) == longest_ms


@pytest.mark.parametrize("values", [["-1"], ["1.5"], ["1s"], [""], ["1", "2"], ["٣"], ["1" * 10], ["NaN"], ["1e3"]])
def test_a_longest_wait_that_is_no_number_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="0 is for not at all") as caught:
        max_wait_ms({"x-bursar-max-wait-ms": values})
    assert caught.value.param == "x-bursar-max-wait-ms"


@pytest.mark.parametrize("name", ["x-stainless-read-timeout", "x-stainless-timeout"])
def test_a_wait_ends_well_before_the_callers_sdk_gives_up(name: str) -> None:
    assert max_wait_ms({name: ["600"]}) == 480_000
    assert max_wait_ms({name: ["1.5"]}) == 1200
    assert max_wait_ms({name: ["600"], "x-bursar-max-wait-ms": ["7"]}) == 7


@pytest.mark.parametrize("value", ["None", "", "NOT_GIVEN", "inf", "-1", "1" * 50])
def test_a_time_that_an_sdk_does_not_know_is_none(value: str) -> None:
    assert max_wait_ms({"x-stainless-read-timeout": [value]}) is None
