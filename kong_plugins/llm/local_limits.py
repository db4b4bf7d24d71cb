"""What a gateway counts by itself while Redis is away: this node's part of each limit.

Windows slide as in Redis (scripts/ring.lua): 61 slices of a sixtieth each, of which the oldest, that lies in the window
only partly, counts whole. So no window ever admits more than the part, and 60/61 of it is reached in steady state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Final

import msgspec

from kong_plugins.llm.limits import BudgetCheck, Denied, Granted, LimitCheck, LimitState, Reservation
from kong_plugins.llm.release import PolicyDocument, Tier

SLICES: Final = 60
# About 8 MB. What is counted must not be forgotten, so that a call which would need more is not decided on.
MOST_RINGS: Final = 10_000
_SLOTS: Final = SLICES + 1
_SWEEP_EVERY_MS: Final = 1_000
_CONCURRENCY_RETRY_MS: Final = 1_000
# Of what organization, limit, subject, tier, unit and window.
_Name = tuple[str, str, str, str, str, int]


def goes_on_without_redis(document: PolicyDocument, tier: Tier, budgets: Sequence[BudgetCheck]) -> bool:
    """Whether a call under these budgets may go on while Redis is away, if this node's limits let it."""
    is_capped = any(budget.refuses for budget in budgets)
    return tier in document.fault_tolerant_tiers and (not is_capped or tier in document.capless_tiers)


class Ring:
    """How much was counted in each slice of one window."""

    __slots__ = ("_newest", "_slots", "_window_ms", "total")

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._newest = 0
        self._slots = [0] * _SLOTS
        self.total = 0

    def advance(self, now_ms: int) -> None:
        """Move on to this instant, and let go of what has left the window."""
        newest = now_ms * SLICES // self._window_ms
        for opened in range(max(self._newest + 1, newest - SLICES), newest + 1):
            self.total -= self._slots[opened % _SLOTS]
            self._slots[opened % _SLOTS] = 0
        self._newest = newest

    def add(self, cost: int) -> None:
        self._slots[self._newest % _SLOTS] += cost
        self.total += cost

    def wait_ms(self, needed: int, now_ms: int) -> int:
        """In how many milliseconds so much of the total will have left the window."""
        leaving = self._newest - SLICES
        freed = self._slots[leaving % _SLOTS]
        while freed < needed:
            leaving += 1
            freed += self._slots[leaving % _SLOTS]
        return -(-(leaving + _SLOTS) * self._window_ms // SLICES) - now_ms


class _Count(msgspec.Struct, frozen=True):
    """One limit of a call: `part` is the limit at this node's part of it."""

    name: _Name
    check: LimitCheck
    part: LimitCheck
    ring: Ring

    @property
    def fits(self) -> bool:
        return self.ring.total + self.part.cost <= self.part.amount

    def wait_ms(self, now_ms: int) -> int:
        if self.part.unit == "concurrency":
            return _CONCURRENCY_RETRY_MS
        return self.ring.wait_ms(self.ring.total + self.part.cost - self.part.amount, now_ms)

    def state(self, now_ms: int) -> LimitState:
        """What the part has left, and when all of it is free again."""
        is_sliding = self.part.unit != "concurrency" and self.ring.total > 0
        return LimitState(
            check=self.part,
            remaining=max(0, self.part.amount - self.ring.total),
            reset_ms=self.ring.wait_ms(self.ring.total, now_ms) if is_sliding else 0,
        )


class LocalLimits:
    """The limits of all organizations at this node's part, the `edges`-th of each; `elapsed_ms` is a clock that nobody
    can set.

    Nobody says here when a call ends. So a limit of concurrent requests takes each to run as long as its lease, and
    lets no more than its part begin in that time.
    """

    def __init__(self, edges: int, *, elapsed_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._edges = edges
        self._elapsed_ms = elapsed_ms
        self._lock = threading.Lock()
        self._rings: dict[_Name, Ring] = {}
        self._swept_at_ms = 0

    def reserve(self, reservation: Reservation, *, reserved_at_ms: int) -> Granted | Denied | None:
        """Count the call in all of its limits, or in none; a probe in none. None where only Redis could decide."""
        with self._lock:
            now_ms = self._elapsed_ms()
            counts = [self._count(check, reservation, now_ms) for check in reservation.limits]
            refusing = [count for count in counts if not count.fits and not count.check.shadow]
            if refusing:
                return _denied(refusing, counts, now_ms)
            if not self._has_room(counts, now_ms):
                return None
            shadows = tuple(count.check.scope_name for count in counts if not count.fits)
            for count in counts:
                count.ring.add(count.part.cost)
                if not reservation.probe:
                    self._rings[count.name] = count.ring
            return Granted(
                reserved_at_ms=reserved_at_ms,
                granted_nusd=reservation.hold_nusd or 0,
                limits=tuple(count.state(now_ms) for count in counts),
                shadow_refusals=shadows,
            )

    def _count(self, check: LimitCheck, reservation: Reservation, now_ms: int) -> _Count:
        window_ms = reservation.lease_ms if check.unit == "concurrency" else check.window_ms
        name = (reservation.organization, check.id, check.subject, check.tier or "", check.unit, window_ms)
        ring = self._rings.get(name) or Ring(window_ms)
        if reservation.probe:
            ring = deepcopy(ring)
        ring.advance(now_ms)
        return _Count(name, check, msgspec.structs.replace(check, amount=check.amount // self._edges), ring)

    def _has_room(self, counts: Sequence[_Count], now_ms: int) -> bool:
        """Whether all could be remembered."""
        new = sum(count.name not in self._rings for count in counts)
        if len(self._rings) + new > MOST_RINGS and now_ms - self._swept_at_ms >= _SWEEP_EVERY_MS:
            self._swept_at_ms = now_ms
            for ring in self._rings.values():
                ring.advance(now_ms)
            self._rings = {name: ring for name, ring in self._rings.items() if ring.total > 0}
        return len(self._rings) + new <= MOST_RINGS


def _denied(refusing: Sequence[_Count], counts: Sequence[_Count], now_ms: int) -> Denied | None:
    states = tuple(count.state(now_ms) for count in counts)
    for count in refusing:
        if count.check.cost > count.check.amount:
            return Denied(check=count.check, retry_after_ms=None, limits=states)
    # What is more than the part may still fit as soon as Redis counts again.
    if any(count.part.cost > count.part.amount for count in refusing):
        return None
    slowest = max(refusing, key=lambda count: count.wait_ms(now_ms))
    return Denied(check=slowest.part, retry_after_ms=slowest.wait_ms(now_ms), limits=states)
