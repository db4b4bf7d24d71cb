"""While Redis is away, each gateway counts its part of every limit by itself, and no window ever admits more."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.limits import Demand, Denied, Granted, LimitCheck, Reservation, checks_for
from kong_plugins.llm.local_limits import MOST_RINGS, SLICES, LocalLimits, goes_on_without_redis
from kong_plugins.llm.release import Budget, Limit, Scope, Tier
from tests.llm.cast import policy, principal

MINUTE_MS = 60_000
LEASE_MS = 900_000
START_MS = 12_345_678
NOW_MS = 1_764_000_000_000
TEAM = Scope(kind="team", subject=None)


class Node:
    """One gateway with a clock that the test sets."""

    def __init__(self, *, edges: int = 1) -> None:
        self.elapsed_ms = START_MS
        self.limits = LocalLimits(edges, elapsed_ms=lambda: self.elapsed_ms)

    def ask(self, *checks: LimitCheck, **changes: Any) -> Granted | Denied | None:
        return self.limits.reserve(reservation(*checks, **changes), reserved_at_ms=NOW_MS)

    def admits(self, *checks: LimitCheck, **changes: Any) -> bool:
        return isinstance(self.ask(*checks, **changes), Granted)

    def admitted(self, check: LimitCheck, attempts: int) -> int:
        return sum(self.admits(check) for _ in range(attempts))


@pytest.fixture
def node() -> Node:
    return Node()


def check(unit: Any = "requests", amount: int = 10, *, cost: int = 1, **changes: Any) -> LimitCheck:
    fields: dict[str, Any] = {
        "id": f"{unit}-{amount}",
        "kind": "team",
        "subject": "search",
        "scope_name": f"team limit of {unit}",
        "unit": unit,
        "amount": amount,
        "window_ms": MINUTE_MS,
        "cost": cost,
        "shadow": False,
    }
    return LimitCheck(**(fields | changes))


def reservation(*checks: LimitCheck, **changes: Any) -> Reservation:
    fields: dict[str, Any] = {
        "organization": "acme",
        "request_id": str(uuid.uuid4()),
        "policy_number": 1,
        "lease_ms": LEASE_MS,
        "hold_nusd": 700,
        "hold_tokens": 100,
        "limits": checks,
        "budgets": (),
        "draft": b"{}",
    }
    return Reservation(**(fields | changes))


@given(
    window_ms=st.sampled_from([1_000, 10_000, 60_000, 61_007, 3_600_000]),
    part=st.integers(1, 40),
    edges=st.integers(1, 4),
    steps=st.lists(st.tuples(st.floats(0, 1.2), st.integers(1, 12)), max_size=80),
)
def test_no_window_ever_admits_more_than_the_part_and_retry_after_is_exact(
    window_ms: int, part: int, edges: int, steps: list[tuple[float, int]]
) -> None:
    node = Node(edges=edges)
    amount = part * edges + edges - 1
    admitted: list[tuple[int, int]] = []

    for share_of_window, cost in steps:
        node.elapsed_ms += int(share_of_window * window_ms)
        asked = check("tokens", amount, cost=cost, window_ms=window_ms)
        answer = node.ask(asked)
        if isinstance(answer, Denied) and cost <= part:
            assert answer.retry_after_ms is not None
            node.elapsed_ms += answer.retry_after_ms - 1
            assert not node.admits(asked), "a millisecond earlier it does not fit"
            node.elapsed_ms += 1
            answer = node.ask(asked)
            assert isinstance(answer, Granted), "then it fits"
        if isinstance(answer, Granted):
            admitted.append((node.elapsed_ms, cost))

    for end_ms, _ in admitted:
        assert sum(cost for at_ms, cost in admitted if end_ms - window_ms < at_ms <= end_ms) <= part


@pytest.mark.parametrize("window_ms", [1_000, MINUTE_MS])
def test_a_steady_crowd_gets_nearly_all_of_the_part(node: Node, window_ms: int) -> None:
    steady = check(amount=600, window_ms=window_ms)
    step_ms = window_ms // 1000
    admitted = 0
    for _ in range(10 * 1000):
        node.elapsed_ms += step_ms
        admitted += node.admits(steady)

    assert admitted >= 10 * 600 * SLICES // (SLICES + 1)


def test_gateways_that_share_a_limit_admit_no_more_than_it_together() -> None:
    nodes = [Node(edges=3) for _ in range(3)]

    assert [each.admitted(check(amount=11), 20) for each in nodes] == [3, 3, 3]


def test_all_limits_are_counted_or_none(node: Node) -> None:
    wide, narrow = check(amount=10), check("tokens", 5, cost=2)

    assert [node.admits(wide, narrow) for _ in range(4)] == [True, True, False, False]

    assert node.admitted(wide, 20) == 8


def test_the_answer_tells_what_is_left_of_the_part() -> None:
    node = Node(edges=2)

    granted = node.ask(check(amount=10), check("tokens", 1001, cost=100))

    assert isinstance(granted, Granted)
    assert (granted.reserved_at_ms, granted.granted_nusd) == (NOW_MS, 700)
    requests, tokens = granted.limits
    assert (requests.check.amount, requests.remaining) == (5, 4)
    assert (tokens.check.amount, tokens.remaining) == (500, 400)
    assert MINUTE_MS <= requests.reset_ms <= MINUTE_MS * 61 // 60
    node.elapsed_ms += requests.reset_ms
    again = node.ask(check(amount=10))
    assert isinstance(again, Granted)
    assert again.limits[0].remaining == 4, "all of it was free again"


def test_a_refusal_names_the_limit_that_takes_longest(node: Node) -> None:
    quick, slow = check(amount=1, window_ms=1_000, scope_name="quick"), check("tokens", 1, scope_name="slow")
    assert node.admits(quick, slow)

    denied = node.ask(quick, slow)

    assert isinstance(denied, Denied)
    assert denied.check.scope_name == "slow"
    assert denied.retry_after_ms is not None
    assert denied.retry_after_ms >= MINUTE_MS
    assert [state.remaining for state in denied.limits] == [0, 0]


def test_a_call_that_no_window_could_ever_admit_is_told_so(node: Node) -> None:
    denied = node.ask(check("tokens", 100, cost=101))

    assert isinstance(denied, Denied)
    assert denied.retry_after_ms is None


def test_what_is_more_than_the_part_waits_for_redis() -> None:
    """With Redis it would fit, so that it is neither too large nor worth a time."""
    node = Node(edges=4)

    assert node.ask(check("tokens", 100, cost=26)) is None
    assert node.ask(check(amount=3)) is None
    assert node.admits(check("tokens", 100, cost=25))


def test_concurrent_requests_run_as_long_as_their_leases(node: Node) -> None:
    """Nobody says here when one ends."""
    slots = check("concurrency", 2, window_ms=1)
    assert node.admitted(slots, 5) == 2

    denied = node.ask(slots)
    assert isinstance(denied, Denied)
    assert (denied.retry_after_ms, denied.limits[0].reset_ms) == (1000, 0)

    node.elapsed_ms += LEASE_MS - 1
    assert node.admitted(slots, 5) == 0
    node.elapsed_ms += LEASE_MS // SLICES + 1
    assert node.admitted(slots, 5) == 2


def test_a_shadow_limit_counts_and_reports_and_refuses_nothing(node: Node) -> None:
    shadow = check(amount=1, shadow=True)

    answers = [node.ask(shadow) for _ in range(3)]

    assert [answer.shadow_refusals for answer in answers if isinstance(answer, Granted)] == [
        (),
        (shadow.scope_name,),
        (shadow.scope_name,),
    ]


def test_a_probe_is_told_what_a_call_would_be_and_takes_nothing(node: Node) -> None:
    limit = check(amount=2)
    node.ask(limit)

    for _ in range(3):
        probed = node.ask(limit, probe=True)
        assert isinstance(probed, Granted)
        assert probed.limits[0].remaining == 0

    assert node.admitted(limit, 5) == 1


def other_counter(**changes: Any) -> Callable[[Node], bool]:
    return lambda node: node.admits(check(amount=1, id="l", **changes))


@pytest.mark.parametrize(
    "asks_another",
    [
        other_counter(subject="support"),
        other_counter(tier="critical"),
        other_counter(unit="tokens"),
        other_counter(window_ms=1_000),
        lambda node: node.admits(check(amount=1, id="m")),
        lambda node: node.admits(check(amount=1, id="l"), organization="other"),
    ],
)
def test_each_limit_subject_tier_unit_window_and_organization_counts_by_itself(
    node: Node, asks_another: Callable[[Node], bool]
) -> None:
    assert node.admitted(check(amount=1, id="l"), 2) == 1

    assert asks_another(node)


def test_what_is_counted_is_never_forgotten_to_make_room(node: Node) -> None:
    held = check(amount=1, subject="held")
    assert node.admits(held)
    for number in range(MOST_RINGS - 1):
        assert node.admits(check(amount=1, subject=f"user-{number}", window_ms=1_000))

    assert node.ask(check(amount=1, subject="one-more")) is None
    node.elapsed_ms += 1_100
    assert node.admits(check(amount=1, subject="one-more")), "the seconds are over"
    assert not node.admits(held), "the minute is not"


def test_a_full_node_still_decides_what_it_counts_already(node: Node) -> None:
    known = check(amount=2, subject="known")
    assert node.admits(known)
    for number in range(MOST_RINGS - 1):
        assert node.admits(check(amount=1, subject=f"user-{number}"))

    assert node.admitted(known, 3) == 1


HARD = Budget(id="b", scope=TEAM, unit="nusd", period="month")
SOFT = Budget(id="b", scope=TEAM, unit="nusd", period="month", hard=False)
SHADOW = Budget(id="b", scope=TEAM, unit="nusd", period="month", shadow=True)
OTHERS = Budget(id="b", scope=Scope(kind="team", subject="support"), unit="nusd", period="month")
ALL_TIERS: tuple[Tier, ...] = ("critical", "normal", "experimental")


@pytest.mark.parametrize(
    ("budgets", "fault_tolerant", "capless", "goes_on"),
    [
        ((), ALL_TIERS, (), True),
        ((), ("critical",), (), False),
        ((SOFT, SHADOW, OTHERS), ("normal",), (), True),
        ((HARD,), ALL_TIERS, (), False),
        ((SOFT, HARD), ALL_TIERS, ("critical",), False),
        ((HARD,), ALL_TIERS, ("normal",), True),
        ((HARD,), ("critical",), ("normal",), False),
        ((), (), ALL_TIERS, False),
    ],
)
def test_a_tier_goes_on_where_no_budget_could_refuse_or_it_needs_no_cap(
    budgets: tuple[Budget, ...], fault_tolerant: tuple[Tier, ...], capless: tuple[Tier, ...], goes_on: bool
) -> None:
    document = policy(budgets=budgets, fault_tolerant_tiers=fault_tolerant, capless_tiers=capless)
    demand = Demand(request_model="mini", tokens=10, cost_nusd=100)
    _, checks = checks_for(document, principal(), demand, now_ms=NOW_MS)

    assert goes_on_without_redis(document, "normal", checks) is goes_on


def test_a_tiers_share_of_a_limit_is_divided_like_the_limit() -> None:
    node = Node(edges=2)
    pool = Limit(
        id="rpm", scope=TEAM, unit="requests", amount=40, window_ms=MINUTE_MS, tier_shares_percent={"experimental": 25}
    )
    demand = Demand(request_model="mini", tokens=10, cost_nusd=100)

    def admitted(tier: Tier) -> int:
        checks, _ = checks_for(policy(limits=(pool,)), principal(tier=tier), demand, now_ms=NOW_MS)
        return sum(node.admits(*checks) for _ in range(50))

    assert admitted("experimental") == 5
    assert admitted("critical") == 15
