"""One organization on a real Redis whose clock a test sets, and calls against its limits and budgets."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import redis

from kong_plugins.llm.connection import Connection
from kong_plugins.llm.decisions import Decision
from kong_plugins.llm.events import ThresholdEvent, UsageEvent, decode_event
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for, reporting_only
from kong_plugins.llm.marks import Ending, Mark, Marks
from kong_plugins.llm.names import budget_name
from kong_plugins.llm.release import Budget, Limit, PolicyDocument, Scope
from kong_plugins.llm.store import Store
from kong_plugins.llm.windows import period_at
from tests.llm.cast import policy, principal

ZONE: Final = "Europe/Berlin"
# A Saturday at noon; the clocks change in the following night, and the month ends three days later.
START_MS: Final = int(datetime(2026, 3, 28, 11, tzinfo=UTC).timestamp()) * 1000
MINUTE_MS: Final = 60_000
LEASE_MS: Final = 300_000
TEAM: Final = Scope(kind="team", subject=None)

# In place of scripts/clock.lua: the time lies in a key of the organization that the script's first key belongs to.
SETTABLE_CLOCK: Final = """
local function now_ms()
  return tonumber(redis.call('GET', string.match(KEYS[1], '^bursar:{.-}:') .. 'test_clock'))
end
"""

# In which ways one call may be asked for, beside what it demands.
WAYS: Final = ("probe", "is_last", "may_wait", "place", "waited_ms", "patience_ms", "deployment", "others", "observed")

_numbers: Final = itertools.count()


def limit(unit: Any = "requests", amount: int = 10, **changes: Any) -> Limit:
    return Limit(**({"id": unit, "scope": TEAM, "unit": unit, "amount": amount, "window_ms": MINUTE_MS} | changes))


def budget(unit: Any = "nusd", period: Any = "month", **changes: Any) -> Budget:
    return Budget(**({"id": f"{period}-{unit}", "scope": TEAM, "unit": unit, "period": period} | changes))


class Engine:
    """The store of one organization. Without a clock of the test's own, it is Redis' clock that counts."""

    def __init__(self, client: redis.Redis, organization: str, *, settable_clock: bool = True) -> None:
        self.redis: Any = client
        self.store = Store(Connection(client, clock=SETTABLE_CLOCK if settable_clock else None))
        self.marks = Marks(self.store)
        self.organization = organization
        self.policy = policy(organization=organization, number=0)
        self.now_ms = START_MS
        self.go_to(START_MS)
        self.store.set_ready(organization, 1)

    @classmethod
    def anew(cls, client: redis.Redis) -> Engine:
        """An organization of its own for each example of a property."""
        return cls(client, f"org-{uuid.uuid4().hex[:12]}")

    def go_to(self, at_ms: int) -> None:
        self.now_ms = at_ms
        self.redis.set(f"bursar:{{{self.organization}}}:test_clock", at_ms)

    def pass_time(self, duration_ms: int) -> None:
        self.go_to(self.now_ms + duration_ms)

    def enforce(self, *rules: Limit | Budget) -> PolicyDocument:
        """Publish a policy with exactly these rules."""
        self.policy = msgspec.structs.replace(
            self.policy,
            number=self.policy.number + 1,
            limits=tuple(rule for rule in rules if isinstance(rule, Limit)),
            budgets=tuple(rule for rule in rules if isinstance(rule, Budget)),
        )
        assert self.store.publish_policy(self.policy)
        return self.policy

    def period_name(self, rule: Budget, at_ms: int | None = None) -> str:
        return period_at(rule.period, self.now_ms if at_ms is None else at_ms, ZoneInfo(ZONE)).name

    def period_end_ms(self, rule: Budget) -> int:
        return period_at(rule.period, self.now_ms, ZoneInfo(ZONE)).end_ms

    def set_cap(self, rule: Budget, cap: int, *, subject: str = "search", version: int = 1, **place: Any) -> bool:
        return self.store.set_cap(
            self.organization,
            rule.id,
            subject,
            place.get("period_name") or self.period_name(rule),
            cap=cap,
            version=version,
            thresholds_percent=rule.thresholds_percent,
            extensions=place.get("extensions", ()),
        )

    def reservation(self, **changes: Any) -> Reservation:
        """A call of the team `search` that costs 100 nano-USD and 10 tokens, but for these changes."""
        fields = {"tokens": 10, "cost_nusd": 100, "floor_nusd": None, "request_model": "mini"} | changes
        who: Principal = fields.pop("principal", principal(organization=self.organization))
        request_id = fields.pop("request_id", f"r{next(_numbers)}")
        lease_ms = fields.pop("lease_ms", LEASE_MS)
        way = {name: fields.pop(name) for name in WAYS if name in fields}
        demand = Demand(**fields)
        limits, budgets = checks_for(self.policy, who, demand, now_ms=self.now_ms)
        if way.get("observed"):
            limits, budgets = reporting_only(limits, budgets)
        draft = {"request_id": request_id, "organization": self.organization, "team": who.team, "key": who.key}
        return Reservation(
            organization=self.organization,
            request_id=request_id,
            policy_number=self.policy.number,
            lease_ms=lease_ms,
            hold_nusd=demand.cost_nusd,
            hold_tokens=demand.tokens,
            limits=limits,
            budgets=budgets,
            draft=msgspec.json.encode(draft | {"input_bound_tokens": demand.tokens // 2}),
            tier=who.tier,
            **way,
        )

    def reserve(self, **changes: Any) -> Decision:
        return self.store.reserve(self.reservation(**changes))

    def hold(self, **changes: Any) -> str:
        """Reserve what must be granted; return the request's id."""
        reservation = self.reservation(**changes)
        answer = self.store.reserve(reservation)
        assert isinstance(answer, Granted), answer
        return reservation.request_id

    def post(self, request_id: str, *, amount_nusd: int | None = 100, tokens: int = 10, **fields: Any) -> str:
        return self.store.post(
            self.organization,
            request_id,
            amount_nusd=amount_nusd,
            tokens=tokens,
            event_fields=self.fields_of(request_id, input_tokens=tokens // 2, output_tokens=tokens - tokens // 2),
        )

    def void(self, request_id: str) -> str:
        return self.store.void(self.organization, request_id, self.fields_of(request_id))

    def end_at(self, deployment: str, ending: Ending, *, asked_ms: int | None = None, **changes: Any) -> bool:
        """Note how a call at a deployment has ended that was admitted just now, but for these changes."""
        call: dict[str, Any] = {
            "request_id": f"r{next(_numbers)}",
            "reserved_at_ms": self.now_ms,
            "status": 503,
        } | changes
        return self.marks.note(self.organization, deployment, ending, passed_over_ms=asked_ms, **call)

    def mark_of(self, deployment: str) -> Mark | None:
        return self.marks.all(self.organization).get(deployment)

    def fields_of(self, request_id: str, **fields: Any) -> bytes:
        known = {"request_id": request_id, "organization": self.organization, "team": "search", "key": "K"}
        return msgspec.json.encode(known | {"outcome": "completed"} | fields)

    def state(self, rule: Budget, *, subject: str = "search", period_name: str = "") -> tuple[int, int]:
        """What is spent and what is held."""
        name = period_name or self.period_name(rule)
        state = self.store.budget_state(self.organization, rule.id, subject, name)
        assert state is not None
        return state.spent, state.held

    def counted(self, places: Iterable[tuple[str, str, str]]) -> tuple[list[dict[str, int]], int]:
        """What of each budget, subject and period is spent and held, where it is not nothing, with the shares of tiers
        in it; and how many holds are open."""
        together = self.redis.pipeline(transaction=False)
        for place in places:
            together.hgetall(budget_name(self.organization, *place))
        *states, open_holds = together.zcard(f"bursar:{{{self.organization}}}:leases").execute()
        return [_counters(state) for state in states], open_holds

    def usage(self) -> list[UsageEvent]:
        return [event for event in self.events() if isinstance(event, UsageEvent)]

    def thresholds(self) -> list[ThresholdEvent]:
        return [event for event in self.events() if isinstance(event, ThresholdEvent)]

    def events(self) -> list[UsageEvent | ThresholdEvent]:
        """Every event so far, without consuming any."""
        rows = self.redis.xrange(f"bursar:{{{self.organization}}}:events")
        return [decode_event(fields[b"type"].decode(), fields[b"data"]) for _, fields in rows]


def _counters(state: dict[bytes, bytes]) -> dict[str, int]:
    named = {name.decode(): value for name, value in state.items() if name.startswith((b"spent", b"held"))}
    return {name: int(value) for name, value in named.items() if int(value)}
