"""The engine as it is meant, in plain Python and for one organization: no Redis, no slots, no packing, one thread."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kong_plugins.llm.limits import (
    BudgetCheck,
    Denied,
    Failing,
    Granted,
    LimitCheck,
    LimitState,
    Reservation,
    Unready,
    Waiting,
)
from kong_plugins.llm.release import Tier
from tests.llm.store.marks_model import MarksModel

Answer = Granted | Failing | Denied | Waiting | Unready
Check = LimitCheck | BudgetCheck
Place = tuple[str, str, str]
Line = tuple[str, str, Tier | None]

BREADTHS = {"user": 1, "key": 2, "team": 3, "organization": 4}
RANKS: dict[Tier, int] = {"critical": 0, "normal": 1, "experimental": 2}
THERE_MS = 3000
ASK_AGAIN_MS = 1000
NEVER = float("inf")


@dataclass
class Account:
    """One budget of one subject in one period. `spent` and `held` are by tier, those of all calls under None."""

    cap: int | None = None
    version: int = 0
    extensions: tuple[tuple[int, int], ...] = ()
    spent: Counter[Tier | None] = field(default_factory=Counter)
    held: Counter[Tier | None] = field(default_factory=Counter)
    fired: set[int] = field(default_factory=set)

    def cap_at(self, now_ms: int, each_cap: int | None) -> int | None:
        """The cap in force; `each_cap` is that of a subject for which none was set."""
        cap = each_cap if self.cap is None else self.cap
        return None if cap is None else cap + sum(more for more, until_ms in self.extensions if now_ms < until_ms)

    def counted(self) -> dict[str, int]:
        """What is not nothing, as Redis names it."""
        named = (("spent", self.spent), ("held", self.held))
        return {
            name if tier is None else f"{name}:{tier}": amount
            for name, counts in named
            for tier, amount in counts.items()
            if amount
        }


@dataclass
class Hold:
    """What became of a request id. `counted` is what each budget has counted, `slices` where the tokens lie."""

    state: str
    answer: Answer | None = None
    nusd: int | None = None
    tokens: int = 0
    lease_end_ms: int = 0
    counted: list[tuple[BudgetCheck, Place, int]] = field(default_factory=list)
    slices: list[tuple[LimitCheck, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Waiter:
    """A call that waits: in one line, behind all of a smaller `place`, as long as it gives a sign of life."""

    place: tuple[int, int]
    there_until_ms: int
    line: Line


class Model:
    def __init__(self) -> None:
        self.policy_number = 0
        self.accounts: dict[Place, Account] = defaultdict(Account)
        self.windows: dict[Line, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.slots: dict[Line, dict[str, int]] = defaultdict(dict)
        self.waiters: dict[str, Waiter] = {}
        self.holds: dict[str, Hold] = {}
        self.marking = MarksModel()
        self.usage: list[tuple[str, str, int | None]] = []
        self.thresholds: list[tuple[Place, int]] = []

    def set_cap(self, place: Place, cap: int, version: int, extensions: Sequence[tuple[int, int]], now_ms: int) -> bool:
        account = self.accounts[place]
        if account.version > version:
            return False
        account.cap, account.version, account.extensions = cap, version, tuple(extensions)
        self._fire(place, account.cap_at(now_ms, None))
        return True

    def reserve(self, call: Reservation, now_ms: int) -> Answer:
        hold = self.holds.get(call.request_id)
        if hold is not None:
            return hold.answer or Unready(reason="request_id_used")
        if call.policy_number != self.policy_number:
            return Unready(reason="stale_policy")
        if any(self._cap(check, now_ms) is None for check in call.budgets):
            return Unready(reason="no_period")
        budgets = [check for check in call.budgets if self._grant(check, call, now_ms) is None]
        limits = [check for check in call.limits if not check.shadow and self._wait_ms(check, now_ms) > 0]
        refusing: list[Check] = [*budgets, *sorted(limits, key=lambda each: -self._wait_ms(each, now_ms))]
        for check in refusing:
            if not self._is_worth_waiting(check, call, now_ms):
                return self._deny(check, call, now_ms, self._wait_ms(check, now_ms))
        behind = [each for each in _checks(call) if each not in refusing and self._is_behind(each, call, now_ms)]
        for check in behind:
            if now_ms >= self._deadline_ms(check, call, now_ms):
                return self._deny(check, call, now_ms, ASK_AGAIN_MS)
        if refusing or behind:
            is_certain = not budgets and not behind
            longest_ms = max(self._wait_ms(each, now_ms) for each in limits) if is_certain else ASK_AGAIN_MS
            return self._wait([*budgets, *limits, *behind], call, now_ms, min(ASK_AGAIN_MS, longest_ms))
        if self.marking.passes_over(call, now_ms):
            return Failing()
        return self._hold(call, now_ms)

    def leave(self, request_id: str) -> None:
        self.waiters.pop(request_id, None)

    def post(self, request_id: str, kind: str, amount: int, tokens: int, now_ms: int) -> str:
        hold = self.holds.get(request_id)
        if hold is None:
            self.holds[request_id] = Hold(kind)
            if kind == "posted":
                self.usage.append((f"{request_id}:1", kind, amount))
            return "orphan"
        if hold.state not in ("pending", "expired"):
            return "duplicate"
        used = {"nusd": amount, "tokens": tokens, "requests": int(kind == "posted")}
        for check, index in hold.slices:
            self._return(check, index, tokens - check.cost)
        if hold.state == "expired":
            self._move(hold, used, now_ms)
            self.usage.append((f"{request_id}:2", "adjusted", amount - (hold.nusd or 0)))
            outcome = "adjusted"
        else:
            self._end(request_id, hold, used, now_ms)
            self.usage.append((f"{request_id}:1", kind, amount))
            outcome = kind
        hold.state, hold.answer = kind, None
        return outcome

    def expire(self, now_ms: int, most: int) -> int:
        pending = [(hold.lease_end_ms, key) for key, hold in self.holds.items() if hold.state == "pending"]
        due = sorted(each for each in pending if each[0] <= now_ms)[:most]
        for _, request_id in due:
            hold = self.holds[request_id]
            self._end(request_id, hold, None, now_ms)
            self.usage.append((f"{request_id}:1", "expired", hold.nusd))
            hold.state, hold.answer = "expired", None
        return len(due)

    # What stands in a call's way.

    def _cap(self, check: BudgetCheck, now_ms: int) -> int | None:
        """Of a budget, or of the tier's share in it."""
        place = _place(check, now_ms)
        account = self.accounts.get(place, Account()) if place else None
        cap = account.cap_at(now_ms, check.each_cap) if account else None
        return cap if cap is None or check.share_percent is None else cap * check.share_percent // 100

    def _counted(self, check: BudgetCheck, now_ms: int) -> tuple[int, int, int]:
        """The cap, and how much of it is free and held."""
        account = self.accounts.get(_place(check, now_ms), Account())
        cap, held = self._cap(check, now_ms) or 0, account.held[check.tier]
        return cap, cap - account.spent[check.tier] - held, held

    def _grant(self, check: BudgetCheck, call: Reservation, now_ms: int) -> int | None:
        cap, free, held = self._counted(check, now_ms)
        if not check.refuses:
            return check.cost
        if not call.is_last and check.degrade_at_percent and (cap - free) * 100 >= cap * check.degrade_at_percent:
            return None
        if check.cost == 0 or check.cost <= free:
            return check.cost
        if check.floor > free:
            return None
        return check.floor + (free - check.floor) // (2 if held else 1)

    def _used(self, check: LimitCheck, now_ms: int) -> int:
        if check.unit == "concurrency":
            return sum(end_ms > now_ms for end_ms in self.slots[_line(check)].values())
        first = _slice(check, now_ms) - 60
        return sum(count for index, count in self.windows[_line(check)].items() if index >= first)

    def _wait_ms(self, check: Check, now_ms: int) -> float:
        """When it would fit if nothing came back: 0 where it fits, NEVER where it never will, as money does not."""
        if isinstance(check, BudgetCheck):
            return NEVER
        excess = self._used(check, now_ms) + check.cost - check.amount
        if excess <= 0:
            return 0
        if check.cost > check.amount:
            return NEVER
        if check.unit == "concurrency":
            return ASK_AGAIN_MS
        first = _slice(check, now_ms) - 60
        for index, count in sorted(self.windows[_line(check)].items()):
            excess -= count if index >= first else 0
            if excess <= 0:
                return -(-(index + 61) * check.window_ms // 60) - now_ms
        raise AssertionError("all of a window leaves it")

    # Lines.

    def _deadline_ms(self, check: Check, call: Reservation, now_ms: int) -> int:
        """Until when a call may wait for a check."""
        if not call.may_wait or not call.is_last:
            return 0
        queue_ms = check.queue_ms or 0
        patience_ms = queue_ms if call.patience_ms is None else call.patience_ms
        return now_ms + min(queue_ms, patience_ms) - call.waited_ms

    def _is_worth_waiting(self, check: Check, call: Reservation, now_ms: int) -> bool:
        deadline_ms = self._deadline_ms(check, call, now_ms)
        if now_ms >= deadline_ms:
            return False
        if isinstance(check, BudgetCheck):
            _, free, held = self._counted(check, now_ms)
            period_end_ms = next(each.end_ms for each in _periods(check) if now_ms < each.end_ms)
            return free + held >= check.floor or period_end_ms <= deadline_ms
        wait_ms = self._wait_ms(check, now_ms)
        return wait_ms < NEVER and (check.unit != "requests" or now_ms + wait_ms <= deadline_ms)

    def _is_behind(self, check: Check, call: Reservation, now_ms: int) -> bool:
        """Whether a call that is still there stands before this one; a newcomer is behind all of its tier."""
        place = _waiting_place(call, now_ms) if call.place is not None else (RANKS[call.tier] + 1, 0)
        return check.queue_ms is not None and any(
            now_ms < each.there_until_ms and _line(check) == each.line and each.place < place
            for request_id, each in self.waiters.items()
            if request_id != call.request_id
        )

    # The four answers.

    def _deny(self, check: Check, call: Reservation, now_ms: int, wait_ms: float) -> Denied:
        states = tuple(self._standing(each, now_ms) for each in call.limits) if isinstance(check, LimitCheck) else ()
        answer = Denied(check=check, retry_after_ms=None if wait_ms == NEVER else int(wait_ms), limits=states)
        if call.is_last:
            self.holds[call.request_id] = Hold("denied", answer)
            self.usage.append((f"{call.request_id}:1", "refused", 0))
            self.leave(call.request_id)
        if isinstance(check, BudgetCheck) and check.tier is None and check.floor > self._counted(check, now_ms)[1]:
            self._fire(_place(check, now_ms), self._cap(check, now_ms), refused=True)
        return answer

    def _wait(self, obstacles: list[Check], call: Reservation, now_ms: int, retry_ms: float) -> Waiting:
        """Have it stand in the line of what is about the fewest callers."""
        check = min(obstacles, key=lambda each: (BREADTHS[each.kind], each.tier is None))
        self.waiters[call.request_id] = Waiter(_waiting_place(call, now_ms), now_ms + THERE_MS, _line(check))
        return Waiting(check=check, place=0, retry_ms=int(retry_ms))

    def _hold(self, call: Reservation, now_ms: int) -> Granted:
        grants: dict[str, int] = {}
        for budget in call.budgets:
            grant = self._grant(budget, call, now_ms)
            assert grant is not None
            grants[budget.unit] = min(grants.get(budget.unit, grant), grant)
        nusd = call.hold_nusd and min(call.hold_nusd, grants.get("nusd", call.hold_nusd))
        shadows: list[Check] = [each for each in call.limits if self._wait_ms(each, now_ms) > 0]
        shadows += [
            each for each in call.budgets if each.shadow and each.cost and each.floor > self._counted(each, now_ms)[1]
        ]
        answer = Granted(
            reserved_at_ms=now_ms,
            granted_nusd=nusd or 0,
            limits=tuple(self._count(check, call, now_ms) for check in call.limits),
            shadow_refusals=tuple(check.scope_name for check in shadows),
            is_marked=call.deployment in self.marking.marks,
            has_other=call.deployment is not None and self.marking.has_other(call, now_ms),
        )
        self.marking.let_pass(call, now_ms)
        hold = Hold("pending", answer, nusd, call.hold_tokens, now_ms + call.lease_ms)
        for budget in call.budgets:
            place = _place(budget, now_ms)
            cost = _held(budget, grants[budget.unit], call)
            self.accounts[place].held[budget.tier] += cost
            hold.counted.append((budget, place, cost))
        hold.slices = [
            (msgspec.structs.replace(check, cost=_held(check, check.cost, call)), _slice(check, now_ms))
            for check in call.limits
            if check.unit == "tokens"
        ]
        self.holds[call.request_id] = hold
        self.leave(call.request_id)
        return answer

    def _count(self, check: LimitCheck, call: Reservation, now_ms: int) -> LimitState:
        if check.unit == "concurrency":
            self.slots[_line(check)][call.request_id] = now_ms + call.lease_ms
        else:
            self.windows[_line(check)][_slice(check, now_ms)] += _held(check, check.cost, call)
        return self._standing(check, now_ms)

    def _standing(self, check: LimitCheck, now_ms: int) -> LimitState:
        """What is left, and when the last slice in which anything was counted leaves the window."""
        remaining = max(0, check.amount - self._used(check, now_ms))
        counted = [index for index, amount in self.windows[_line(check)].items() if amount]
        if check.unit == "concurrency" or not counted or max(counted) <= _slice(check, now_ms) - 61:
            return LimitState(check=check, remaining=remaining, reset_ms=0)
        reset_ms = -(-(max(counted) + 61) * check.window_ms // 60) - now_ms
        return LimitState(check=check, remaining=remaining, reset_ms=reset_ms)

    # How a hold ends.

    def _return(self, check: LimitCheck, index: int, difference: int) -> None:
        """A slice that has left the ring stays as it is; that changes nothing, since it counts nowhere."""
        newest = max(self.windows[_line(check)])
        if index > newest - 61:
            self.windows[_line(check)][index] += difference

    def _end(self, request_id: str, hold: Hold, used: dict[str, int] | None, now_ms: int) -> None:
        for check, place, cost in hold.counted:
            self.accounts[place].held[check.tier] -= cost
        self._move(hold, used, now_ms)
        for slots in self.slots.values():
            slots.pop(request_id, None)

    def _move(self, hold: Hold, used: dict[str, int] | None, now_ms: int) -> None:
        """Count what was used, or without it the whole hold."""
        for check, place, cost in hold.counted:
            difference = cost if used is None else used[check.unit] - (cost if hold.state == "expired" else 0)
            account = self.accounts[place]
            account.spent[check.tier] += difference
            if difference > 0 and check.tier is None:
                self._fire(place, account.cap_at(now_ms, check.each_cap))

    def _fire(self, place: Place, cap: int | None, *, refused: bool = False) -> None:
        account = self.accounts[place]
        assert cap is not None
        for percent in (50, 75, 90, 100):
            reached = account.spent[None] > 0 and account.spent[None] * 100 >= cap * percent
            if percent not in account.fired and (reached or (refused and percent == 100)):
                account.fired.add(percent)
                self.thresholds.append((place, percent))


def _checks(call: Reservation) -> tuple[Check, ...]:
    return *call.limits, *call.budgets


def _held(check: Check, cost: int, call: Reservation) -> int:
    """A call that is only observed is made, but holds no money and no tokens."""
    return 0 if call.observed and check.unit in ("nusd", "tokens") else cost


def _line(check: Check) -> Line:
    return check.id, check.subject, check.tier


def _asked_at_ms(call: Reservation, now_ms: int) -> int:
    """When a call first asked; it was told its place then."""
    return now_ms if call.place is None else call.place % 2**51 // 1000


def _waiting_place(call: Reservation, now_ms: int) -> tuple[int, int]:
    return RANKS[call.tier], _asked_at_ms(call, now_ms)


def _slice(check: LimitCheck, now_ms: int) -> int:
    return now_ms * 60 // check.window_ms


def _periods(check: BudgetCheck) -> tuple[Any, ...]:
    return check.current, check.following


def _place(check: BudgetCheck, now_ms: int) -> Any:
    for period in _periods(check):
        if period.start_ms <= now_ms < period.end_ms:
            return check.id, check.subject, period.name
    return None
