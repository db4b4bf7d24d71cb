"""The store: what gateways and control plane share in Redis.

Every step that checks and counts is one script (`scripts/*.lua`), idempotent by request id or version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import msgspec

from kong_plugins.llm.decisions import Decision, decision_of
from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.limits import BudgetCheck, LimitCheck, Reservation, check_amount, check_request_id
from kong_plugins.llm.names import budget_name, hold_name, key_name, live_name
from kong_plugins.llm.release import PolicyDocument, Tier, decode_policy, encode_policy

if TYPE_CHECKING:
    from kong_plugins.llm.connection import Connection

PostResult = Literal["posted", "voided", "adjusted", "duplicate", "orphan"]

# A resolved request id is remembered this long; an expired hold can be corrected this long.
TOMBSTONE_MS: Final = 15 * 60_000
LATE_TRUTH_MS: Final = 7 * 86_400_000
REFUSALS_WRITTEN_A_SECOND: Final = 100
REFUSAL_REMEMBERED_MS: Final = 60_000
REFUSAL_COUNTS_KEPT_MS: Final = 2 * 86_400_000
# The period of a subject that nobody knew beforehand, after its end: until no late truth can come any more.
PERIOD_KEPT_MS: Final = LATE_TRUTH_MS + 86_400_000
ABANDONED_AFTER_MS: Final = 60_000

GROUP: Final = "ledger"
_ORGANIZATIONS: Final = "bursar:organizations"
_FIXED_NAMES: Final = ("ready", "policy_number", "leases", "seq", "events", "refusals", "waiting", "refused", "failing")
_PLANNED: Final = tuple(
    name for name in Reservation.__struct_fields__ if name not in ("organization", "budgets", "draft", "without_redis")
)


class BudgetState(msgspec.Struct, frozen=True):
    """Where a budget stands in one period, in its own unit."""

    cap: int
    spent: int
    held: int


class PeriodEnd(msgspec.Struct, frozen=True):
    """What a period that is over has spent for good, in its budget's unit; None where Redis knows no such period."""

    spent: int | None = None


class Cap(NamedTuple):
    """A budget's cap for one subject in one period. Each extension is an amount that is added until an instant, in
    Unix milliseconds of Redis' clock."""

    budget_id: str
    subject: str
    period_name: str
    amount: int
    version: int
    thresholds_percent: tuple[int, ...]
    extensions: tuple[tuple[int, int], ...] = ()


class StreamEntry(msgspec.Struct, frozen=True):
    """One event as it lies in the stream; `deliveries` counts how often a consumer has been given it."""

    entry_id: str
    type: str
    data: bytes
    deliveries: int


class Store:
    """The shared state of all organizations."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._redis = connection.redis

    @classmethod
    def from_url(cls, url: str, *, timeout_ms: int, clock: str | None = None) -> Store:
        """A store that gives up on an unanswered call after `timeout_ms`, twice."""
        # Not before it is needed: Redis' client takes a tenth of a second to load, and Kong's question what a plugin
        # is, which it asks at its own start, needs none.
        from kong_plugins.llm.connection import Connection

        return cls(Connection.from_url(url, timeout_ms=timeout_ms, clock=clock))

    def close(self) -> None:
        self.connection.close()

    def ping(self) -> None:
        """Raises: StoreUnavailable."""
        self.connection.call(self._redis.ping)

    # Live state: written by the control plane, read by gateways.

    def put_key(self, record: KeyRecord) -> bool:
        """Make a key's record live; False where a newer version already is."""
        return self.put_keys([record])[0]

    def put_keys(self, records: Iterable[KeyRecord]) -> list[bool]:
        """Make keys' records live, in one trip; False for each of which a newer version already is."""
        calls: list[tuple[list[str], list[Any]]] = [
            ([key_name(record.id)], [record.version, msgspec.json.encode(record)]) for record in records
        ]
        return [bool(result) for result in self.connection.run_each("put_key", calls)]

    def get_key(self, key_id: str) -> KeyRecord | None:
        data = self.connection.call(lambda: self._redis.get(key_name(key_id)))
        return None if data is None else msgspec.json.decode(cast(bytes, data), type=KeyRecord)

    def publish_policy(self, document: PolicyDocument) -> bool:
        """Put a policy document in force; False where a newer one already is."""
        organization = document.organization
        self.connection.call(lambda: self._redis.sadd(_ORGANIZATIONS, organization))
        names = [live_name(organization, "policy_number"), live_name(organization, "policy")]
        return bool(self.connection.run("publish_policy", names, [document.number, encode_policy(document)]))

    def get_policy(self, organization: str) -> PolicyDocument | None:
        data = self.connection.call(lambda: self._redis.get(live_name(organization, "policy")))
        return None if data is None else decode_policy(cast(bytes, data))

    def policy_number(self, organization: str) -> int | None:
        """The number of the policy document in force."""
        number = self.connection.call(lambda: self._redis.get(live_name(organization, "policy_number")))
        return None if number is None else int(number)

    def set_ready(self, organization: str, epoch: int) -> None:
        """Declare the organization's counters complete; without this nothing is admitted."""
        self.connection.call(lambda: self._redis.set(live_name(organization, "ready"), epoch))

    def set_cap(
        self,
        organization: str,
        budget_id: str,
        subject: str,
        period_name: str,
        *,
        cap: int,
        version: int,
        thresholds_percent: Iterable[int],
        extensions: Iterable[tuple[int, int]] = (),
    ) -> bool:
        """Set a budget's cap for one subject in one period; False where a newer version is there already.

        Each extension is an amount that is added to the cap until an instant, in Unix milliseconds of Redis' clock.
        """
        new = Cap(budget_id, subject, period_name, cap, version, tuple(thresholds_percent), tuple(extensions))
        return self.set_caps(organization, [new])[0]

    def set_caps(self, organization: str, caps: Iterable[Cap]) -> list[bool]:
        """Set many caps of an organization in one trip; False for each of which a newer version is there already."""
        shared = [live_name(organization, name) for name in ("events", "waiting")]
        calls = [
            (
                [budget_name(organization, cap.budget_id, cap.subject, cap.period_name), *shared],
                _cap_words(organization, cap),
            )
            for cap in caps
        ]
        return [bool(result) for result in self.connection.run_each("set_cap", calls)]

    def budget_state(
        self,
        organization: str,
        budget_id: str,
        subject: str,
        period_name: str,
        *,
        tier: Tier | None = None,
        each_cap: int | None = None,
    ) -> BudgetState | None:
        """How a budget stands, its cap as in force now; None where it has none. With a tier, what its share has spent
        and holds. `each_cap` is the policy's, for a subject for which no cap has been set."""
        name = budget_name(organization, budget_id, subject, period_name)
        state = self.connection.run("budget_state", [name], [tier or "", "" if each_cap is None else each_cap])
        return None if state is None else BudgetState(*state)

    def budget_states(self, organization: str, places: Iterable[tuple[str, str, str]]) -> list[BudgetState | None]:
        """`budget_state` of many in one trip, in this order, each a budget's id, a subject and a period's name."""
        calls = [([budget_name(organization, *place)], ["", ""]) for place in places]
        answers = self.connection.run_each("budget_state", calls)
        return [None if state is None else BudgetState(*state) for state in answers]

    def period_end(
        self, organization: str, budget_id: str, subject: str, period_name: str, *, ended_at_ms: int
    ) -> PeriodEnd | None:
        """How a period has ended, by Redis' clock; None while it goes on, or calls of it do, or counters are being
        rebuilt."""
        names = [budget_name(organization, budget_id, subject, period_name), live_name(organization, "ready")]
        answer = self.connection.run("period_end", names, [ended_at_ms])
        return None if answer is None else PeriodEnd(*answer)

    # The engine.

    def reserve(self, reservation: Reservation) -> Decision:
        """Hold what a call may use against everything that applies to it, or nothing; a probe only asks."""
        arguments = [
            _plan(reservation),
            reservation.draft,
            REFUSALS_WRITTEN_A_SECOND,
            REFUSAL_REMEMBERED_MS,
            REFUSAL_COUNTS_KEPT_MS,
            PERIOD_KEPT_MS,
        ]
        return decision_of(reservation, self.connection.run("reserve", _reserve_names(reservation), arguments))

    def leave(self, organization: str, request_id: str) -> None:
        """Take a call out of the line in which it waits."""
        check_request_id(request_id)
        self.connection.run("leave", [live_name(organization, "waiting")], [request_id])

    def freed(self, organization: str) -> AbstractContextManager[Callable[[float], bool]]:
        """Hear when something that calls may wait for is freed (`Connection.listening`)."""
        return self.connection.listening(live_name(organization, "freed"))

    def refusal_counts(self, organization: str, hour_start_ms: int) -> dict[tuple[str, str], int]:
        """How many refusals of one hour are not written as events, by team and the name of what refused."""
        name = live_name(organization, f"refused:{hour_start_ms}")
        counts = self.connection.call(lambda: self._redis.hgetall(name))
        fields = ((field.decode().split("|", 1), int(count)) for field, count in counts.items())
        return {(team, scope_name): count for (team, scope_name), count in fields}

    def post(
        self,
        organization: str,
        request_id: str,
        *,
        amount_nusd: int | None,
        tokens: int,
        event_fields: bytes,
        reserved_at_ms: int | None = None,
        hold_nusd: int = 0,
    ) -> PostResult:
        """End a hold with what the call cost; None where no price was known. `event_fields` is a JSON object.

        `reserved_at_ms` and `hold_nusd` are what its event says should Redis have lost the hold.
        """
        check_amount(amount_nusd or 0)
        check_amount(tokens)
        amount = "" if amount_nusd is None else amount_nusd
        reserved = "" if reserved_at_ms is None else reserved_at_ms
        return self._settle(organization, [request_id, "posted", amount, tokens, event_fields], [reserved, hold_nusd])

    def void(self, organization: str, request_id: str, event_fields: bytes) -> PostResult:
        """End a hold whose call has not reached a provider."""
        return self._settle(organization, [request_id, "voided", 0, 0, event_fields], ["", 0])

    def expire_due(self, organization: str, *, most: int = 100) -> int:
        """Post in full the holds whose lease is over; return how many there were, at most `most`."""
        names = [live_name(organization, name) for name in ("leases", "seq", "events", "waiting")]
        return int(self.connection.run("expire", names, [live_name(organization, "hold:"), most, LATE_TRUTH_MS]))

    def open_holds(self, organization: str) -> int:
        return int(self.connection.call(lambda: self._redis.zcard(live_name(organization, "leases"))))

    def _settle(self, organization: str, arguments: list[Any], lost: list[Any]) -> PostResult:
        check_request_id(arguments[0])
        names = [
            hold_name(organization, arguments[0]),
            *(live_name(organization, n) for n in ("leases", "seq", "events", "waiting")),
        ]
        return cast(PostResult, self.connection.run("post", names, [*arguments, TOMBSTONE_MS, *lost]).decode())

    # The event stream: written by the scripts, read by the ledger.

    def organizations(self) -> set[str]:
        members = self.connection.call(lambda: self._redis.smembers(_ORGANIZATIONS))
        return {member.decode() for member in cast(set[bytes], members)}

    def read_events(self, organization: str, consumer: str, *, most: int, block_ms: int) -> list[StreamEntry]:
        """What this consumer has to work on next: its own unacknowledged entries, else those that another consumer
        has left lying, else new ones, for which it waits up to `block_ms`, in steps of Redis' tenth of a second."""
        stream = live_name(organization, "events")
        return self.connection.in_group(
            stream,
            GROUP,
            lambda: (
                self._pending_of(stream, consumer, most)
                or self._abandoned(stream, consumer, most)
                or self._fresh(stream, consumer, most, block_ms)
            ),
        )

    def ack_events(self, organization: str, entry_ids: Iterable[str]) -> None:
        ids = list(entry_ids)
        if ids:
            self.connection.call(lambda: self._redis.xack(live_name(organization, "events"), GROUP, *ids))

    def trim_events(self, organization: str) -> int:
        """Drop what every consumer has acknowledged; return how many entries that were."""
        stream = live_name(organization, "events")

        def trim() -> int:
            group = self._redis.xinfo_groups(stream)[0]
            oldest_pending = self._redis.xpending(stream, GROUP)["min"]
            return int(self._redis.xtrim(stream, minid=oldest_pending or group["last-delivered-id"], approximate=False))

        return self.connection.in_group(stream, GROUP, trim)

    def _pending_of(self, stream: str, consumer: str, most: int) -> list[StreamEntry]:
        answer = self._redis.xreadgroup(GROUP, consumer, {stream: "0"}, count=most)
        return self._with_deliveries(stream, consumer, answer[0][1] if answer else [])

    def _abandoned(self, stream: str, consumer: str, most: int) -> list[StreamEntry]:
        _, claimed, _ = self._redis.xautoclaim(stream, GROUP, consumer, ABANDONED_AFTER_MS, count=most)
        return self._with_deliveries(stream, consumer, claimed)

    def _fresh(self, stream: str, consumer: str, most: int, block_ms: int) -> list[StreamEntry]:
        # To Redis, a wait of 0 is for ever; None is none.
        block_ms = min(block_ms, self.connection.longest_block_ms)
        answer = self._redis.xreadgroup(GROUP, consumer, {stream: ">"}, count=most, block=block_ms or None)
        return [_entry(entry_id, fields, 1) for entry_id, fields in (answer[0][1] if answer else [])]

    def _with_deliveries(self, stream: str, consumer: str, entries: list[Any]) -> list[StreamEntry]:
        if not entries:
            return []
        rows = self._redis.xpending_range(stream, GROUP, entries[0][0], entries[-1][0], len(entries), consumer)
        deliveries = {row["message_id"]: row["times_delivered"] for row in rows}
        return [_entry(entry_id, fields, deliveries.get(entry_id, 1)) for entry_id, fields in entries if fields]


def _cap_words(organization: str, cap: Cap) -> list[Any]:
    """What the script that sets a cap is told."""
    check_amount(cap.amount)
    return [
        cap.amount,
        cap.version,
        _thresholds(cap.thresholds_percent),
        _threshold_identity(organization, cap.budget_id, cap.subject, cap.period_name),
        ",".join(f"{amount}:{until_ms}" for amount, until_ms in cap.extensions),
    ]


def _threshold_identity(organization: str, budget_id: str, subject: str, period_name: str) -> str:
    """The beginning of a threshold event's JSON, up to its id, to which the script adds the percentage."""
    known = {
        "format": 1,
        "organization": organization,
        "budget": budget_id,
        "subject": subject,
        "period": period_name,
        "id": f"{organization}:{budget_id}:{subject}:{period_name}:",
    }
    return json.dumps(known, separators=(",", ":"))[: -len('"}')]


def _thresholds(percents: Iterable[int]) -> str:
    return ",".join(str(percent) for percent in percents)


def _reserve_names(reservation: Reservation) -> list[str]:
    organization = reservation.organization
    names = [hold_name(organization, reservation.request_id)]
    names += [live_name(organization, name) for name in _FIXED_NAMES]
    names += [live_name(organization, _limit_name(check)) for check in reservation.limits]
    for check in reservation.budgets:
        for period in (check.current, check.following):
            names.append(budget_name(organization, check.id, check.subject, period.name))
    return names


def _limit_name(check: LimitCheck) -> str:
    # A window of another length has slices of another length, so it is another counter.
    name = f"limit:{check.id}:{check.subject}:{check.unit}:{check.window_ms}"
    return name if check.tier is None else f"{name}:{check.tier}"


def _plan(reservation: Reservation) -> bytes:
    """The reservation as the script reads it, to which None is absent; without its draft, as Redis' MessagePack knows
    text, not bytes."""
    plan: dict[str, Any] = {name: getattr(reservation, name) for name in _PLANNED}
    plan["budgets"] = [_planned(reservation.organization, check) for check in reservation.budgets]
    return msgspec.msgpack.encode(plan)


def _planned(organization: str, check: BudgetCheck) -> BudgetCheck | dict[str, Any]:
    if check.each_cap is None:
        return check
    identities = [
        _threshold_identity(organization, check.id, check.subject, period.name)
        for period in (check.current, check.following)
    ]
    planned: dict[str, Any] = msgspec.to_builtins(check)
    return planned | {"thresholds": _thresholds(check.thresholds_percent), "identities": identities}


def _entry(entry_id: bytes, fields: dict[bytes, bytes], deliveries: int) -> StreamEntry:
    return StreamEntry(
        entry_id=entry_id.decode(), type=fields[b"type"].decode(), data=fields[b"data"], deliveries=deliveries
    )
