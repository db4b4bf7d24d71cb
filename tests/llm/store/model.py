"""The engine as it is meant, in plain Python and for one organization: no Redis, no slots, no packing, one thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kong_plugins.llm.limits import BudgetCheck, Denied, Granted, LimitCheck, LimitState, Reservation, Unready

Answer = Granted | Denied | Unready
Place = tuple[str, str, str]


@dataclass
class Account:
    """One budget of one subject in one period."""

    cap: int
    version: int
    spent: int = 0
    held: int = 0
    fired: set[int] = field(default_factory=set)


@dataclass
class Hold:
    """What became of a request id. `counted` is what each budget has counted, `slices` where the tokens lie."""

    state: str
    answer: Answer | None = None
    nusd: int | None = None
    tokens: int = 0
    lease_end_ms: int = 0
    counted: list[tuple[Place, str, int]] = field(default_factory=list)
    slices: list[tuple[LimitCheck, int]] = field(default_factory=list)


class Model:
    def __init__(self) -> None:
        self.policy_number = 0
        self.accounts: dict[Place, Account] = {}
        self.windows: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.slots: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self.holds: dict[str, Hold] = {}
        self.usage: list[tuple[str, str, int | None]] = []
        self.thresholds: list[tuple[Place, int]] = []

    def set_cap(self, place: Place, cap: int, version: int, percents: Sequence[int]) -> bool:
        account = self.accounts.setdefault(place, Account(cap, version))
        if account.version > version:
            return False
        account.cap, account.version = cap, version
        self._fire(place, percents)
        return True

    def reserve(self, reservation: Reservation, now_ms: int, percents: Sequence[int]) -> Answer:
        hold = self.holds.get(reservation.request_id)
        if hold is not None:
            return hold.answer or Unready(reason="request_id_used")
        if reservation.policy_number != self.policy_number:
            return Unready(reason="stale_policy")
        places = [_place(check, now_ms) for check in reservation.budgets]
        if any(place not in self.accounts for place in places):
            return Unready(reason="no_period")
        grants: dict[str, int] = {}
        for check, place in zip(reservation.budgets, places, strict=True):
            grant = self._grant(check, self.accounts[place])
            if grant is None:
                self._fire(place, percents, refused=True)
                return self._deny(reservation, Denied(check=check, retry_after_ms=None))
            grants[check.unit] = min(grants.get(check.unit, grant), grant)
        waits = [(limit, self._wait_ms(limit, now_ms)) for limit in reservation.limits if not limit.shadow]
        slowest = max(waits, key=lambda each: float("inf") if each[1] is None else each[1])
        if slowest[1] != 0:
            states = tuple(self._standing(limit, now_ms) for limit in reservation.limits)
            return self._deny(reservation, Denied(check=slowest[0], retry_after_ms=slowest[1], limits=states))
        return self._hold(reservation, places, grants, now_ms)

    def post(self, request_id: str, kind: str, amount: int, tokens: int) -> str:
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
            self._move(hold, used)
            self.usage.append((f"{request_id}:2", "adjusted", amount - (hold.nusd or 0)))
            outcome = "adjusted"
        else:
            self._end(request_id, hold, used)
            self.usage.append((f"{request_id}:1", kind, amount))
            outcome = kind
        hold.state, hold.answer = kind, None
        return outcome

    def expire(self, now_ms: int, most: int) -> int:
        pending = [(hold.lease_end_ms, key) for key, hold in self.holds.items() if hold.state == "pending"]
        due = sorted(each for each in pending if each[0] <= now_ms)[:most]
        for _, request_id in due:
            hold = self.holds[request_id]
            self._end(request_id, hold, None)
            self.usage.append((f"{request_id}:1", "expired", hold.nusd))
            hold.state, hold.answer = "expired", None
        return len(due)

    def _grant(self, check: BudgetCheck, account: Account) -> int | None:
        free = account.cap - account.spent - account.held
        if not check.refuses or check.cost <= free:
            return check.cost
        if check.floor > free:
            return None
        return check.floor + (free - check.floor) // (2 if account.held else 1)

    def _used(self, check: LimitCheck, now_ms: int) -> int:
        key = (check.id, check.subject)
        if check.unit == "concurrency":
            return sum(end_ms > now_ms for end_ms in self.slots[key].values())
        first = _slice(check, now_ms) - 60
        return sum(count for index, count in self.windows[key].items() if index >= first)

    def _wait_ms(self, check: LimitCheck, now_ms: int) -> int | None:
        """0 where it fits, None where it never will."""
        excess = self._used(check, now_ms) + check.cost - check.amount
        if excess <= 0:
            return 0
        if check.cost > check.amount:
            return None
        if check.unit == "concurrency":
            return 1000
        first = _slice(check, now_ms) - 60
        for index, count in sorted(self.windows[check.id, check.subject].items()):
            excess -= count if index >= first else 0
            if excess <= 0:
                return -(-(index + 61) * check.window_ms // 60) - now_ms
        raise AssertionError("all of a window leaves it")

    def _deny(self, reservation: Reservation, answer: Denied) -> Denied:
        self.holds[reservation.request_id] = Hold("denied", answer)
        self.usage.append((f"{reservation.request_id}:1", "refused", 0))
        return answer

    def _hold(self, reservation: Reservation, places: list[Place], grants: dict[str, int], now_ms: int) -> Granted:
        nusd = reservation.hold_nusd and min(reservation.hold_nusd, grants.get("nusd", reservation.hold_nusd))
        shadows = [c for c in reservation.limits if self._used(c, now_ms) + c.cost > c.amount] + [
            check
            for check, place in zip(reservation.budgets, places, strict=True)
            if check.shadow and check.floor > self.accounts[place].cap - sum(self._counted(place))
        ]
        states = tuple(self._count(check, reservation, now_ms) for check in reservation.limits)
        answer = Granted(
            reserved_at_ms=now_ms,
            granted_nusd=nusd or 0,
            limits=states,
            shadow_refusals=tuple(check.scope_name for check in shadows),
        )
        hold = Hold("pending", answer, nusd, reservation.hold_tokens, now_ms + reservation.lease_ms)
        for check, place in zip(reservation.budgets, places, strict=True):
            self.accounts[place].held += grants[check.unit]
            hold.counted.append((place, check.unit, grants[check.unit]))
        hold.slices = [(check, _slice(check, now_ms)) for check in reservation.limits if check.unit == "tokens"]
        self.holds[reservation.request_id] = hold
        return answer

    def _counted(self, place: Place) -> tuple[int, int]:
        return self.accounts[place].spent, self.accounts[place].held

    def _count(self, check: LimitCheck, reservation: Reservation, now_ms: int) -> LimitState:
        key, index = (check.id, check.subject), _slice(check, now_ms)
        if check.unit == "concurrency":
            self.slots[key][reservation.request_id] = now_ms + reservation.lease_ms
        else:
            self.windows[key][index] += check.cost
        return self._standing(check, now_ms)

    def _standing(self, check: LimitCheck, now_ms: int) -> LimitState:
        """What is left, and when the last slice in which anything was counted leaves the window."""
        remaining = max(0, check.amount - self._used(check, now_ms))
        counted = [index for index, amount in self.windows[check.id, check.subject].items() if amount]
        if check.unit == "concurrency" or not counted or max(counted) <= _slice(check, now_ms) - 61:
            return LimitState(check=check, remaining=remaining, reset_ms=0)
        reset_ms = -(-(max(counted) + 61) * check.window_ms // 60) - now_ms
        return LimitState(check=check, remaining=remaining, reset_ms=reset_ms)

    def _return(self, check: LimitCheck, index: int, difference: int) -> None:
        """A slice that has left the ring stays as it is; that changes nothing, since it counts nowhere."""
        newest = max(self.windows[check.id, check.subject])
        if index > newest - 61:
            self.windows[check.id, check.subject][index] += difference

    def _end(self, request_id: str, hold: Hold, used: dict[str, int] | None) -> None:
        for place, _, cost in hold.counted:
            self.accounts[place].held -= cost
        self._move(hold, used)
        for slots in self.slots.values():
            slots.pop(request_id, None)

    def _move(self, hold: Hold, used: dict[str, int] | None) -> None:
        """Count what was used, or without it the whole hold."""
        for place, unit, cost in hold.counted:
            difference = cost if used is None else used[unit] - (cost if hold.state == "expired" else 0)
            self.accounts[place].spent += difference
            if difference > 0:
                self._fire(place, (50, 75, 90, 100))

    def _fire(self, place: Place, percents: Sequence[int], *, refused: bool = False) -> None:
        account = self.accounts[place]
        for percent in percents:
            reached = account.spent > 0 and account.spent * 100 >= account.cap * percent
            if percent not in account.fired and (reached or (refused and percent == 100)):
                account.fired.add(percent)
                self.thresholds.append((place, percent))


def _slice(check: LimitCheck, now_ms: int) -> int:
    return now_ms * 60 // check.window_ms


def _place(check: BudgetCheck, now_ms: int) -> Any:
    for period in (check.current, check.following):
        if period.start_ms <= now_ms < period.end_ms:
            return check.id, check.subject, period.name
    return None
