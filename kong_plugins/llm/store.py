"""The store: what gateways and control plane share in Redis, and the only module that speaks to it.

Every step that checks and counts is one script (`scripts/*.lua`), idempotent by request id or version, so that a
call whose answer was lost is simply made again. All names of one organization carry its slug as the hash tag.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.limits import (
    BudgetCheck,
    Denied,
    Granted,
    LimitCheck,
    LimitState,
    Reservation,
    Unready,
    check_amount,
    check_request_id,
)
from kong_plugins.llm.release import PolicyDocument, decode_policy, encode_policy
from kong_plugins.llm.scripts import lua_file, script_source

PostResult = Literal["posted", "voided", "adjusted", "duplicate", "orphan"]

# A resolved request id is remembered this long; an expired hold can be corrected this long.
TOMBSTONE_MS: Final = 15 * 60_000
LATE_TRUTH_MS: Final = 7 * 86_400_000
REFUSALS_WRITTEN_A_SECOND: Final = 100
REFUSAL_REMEMBERED_MS: Final = 60_000
ABANDONED_AFTER_MS: Final = 60_000

_GROUP: Final = "ledger"
_ORGANIZATIONS: Final = "bursar:organizations"
_Answer = TypeVar("_Answer")


class StoreUnavailable(Exception):
    """Redis does not answer, or refuses to; nothing was decided."""


class BudgetState(msgspec.Struct, frozen=True):
    """Where a budget stands in one period, in its own unit."""

    cap: int
    spent: int
    held: int


class StreamEntry(msgspec.Struct, frozen=True):
    """One event as it lies in the stream; `deliveries` counts how often a consumer has been given it."""

    entry_id: str
    type: str
    data: bytes
    deliveries: int


class Store:
    """The shared state of all organizations. `clock` is Lua that defines `now_ms`; by default Redis' own time."""

    def __init__(self, client: redis.Redis, *, clock: str | None = None) -> None:
        # Untyped: redis-py's types of an answer are those of all protocols and options at once.
        self._redis: Any = client
        self._clock = clock if clock is not None else lua_file("clock")
        self._scripts: dict[str, _Script] = {}
        self._longest_block_ms = int((client.get_connection_kwargs().get("socket_timeout") or 60) * 500)

    @classmethod
    def from_url(cls, url: str, *, timeout_ms: int) -> Store:
        """A store that gives up on an unanswered call after `timeout_ms`, twice."""
        # redis-py would retry by itself ten times, with pauses that a request cannot wait for.
        return cls(
            redis.Redis.from_url(
                url,
                socket_timeout=timeout_ms / 1000,
                socket_connect_timeout=timeout_ms / 1000,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        )

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> None:
        """Raises: StoreUnavailable."""
        self._call(self._redis.ping)

    # Live state: written by the control plane, read by gateways.

    def put_key(self, record: KeyRecord) -> bool:
        """Make a key's record live; False where a newer version already is."""
        return bool(self._run("put_key", [_key_name(record.id)], [record.version, msgspec.json.encode(record)]))

    def get_key(self, key_id: str) -> KeyRecord | None:
        data = self._call(lambda: self._redis.get(_key_name(key_id)))
        return None if data is None else msgspec.json.decode(cast(bytes, data), type=KeyRecord)

    def publish_policy(self, document: PolicyDocument) -> bool:
        """Put a policy document in force; False where a newer one already is."""
        organization = document.organization
        self._call(lambda: self._redis.sadd(_ORGANIZATIONS, organization))
        names = [_name(organization, "policy_number"), _name(organization, "policy")]
        return bool(self._run("publish_policy", names, [document.number, encode_policy(document)]))

    def get_policy(self, organization: str) -> PolicyDocument | None:
        data = self._call(lambda: self._redis.get(_name(organization, "policy")))
        return None if data is None else decode_policy(cast(bytes, data))

    def set_ready(self, organization: str, epoch: int) -> None:
        """Declare the organization's counters complete; without this nothing is admitted."""
        self._call(lambda: self._redis.set(_name(organization, "ready"), epoch))

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
    ) -> bool:
        """Set a budget's cap for one subject in one period; False where a newer version is there already."""
        check_amount(cap)
        thresholds = ",".join(str(percent) for percent in thresholds_percent)
        identity = _threshold_identity(organization, budget_id, subject, period_name)
        names = [_budget_name(organization, budget_id, subject, period_name), _name(organization, "events")]
        return bool(self._run("set_cap", names, [cap, version, thresholds, identity]))

    def budget_state(self, organization: str, budget_id: str, subject: str, period_name: str) -> BudgetState | None:
        name = _budget_name(organization, budget_id, subject, period_name)
        cap, spent, held = self._call(lambda: self._redis.hmget(name, ["cap", "spent", "held"]))
        return None if cap is None else BudgetState(cap=int(cap), spent=int(spent or 0), held=int(held or 0))

    def spent_at(self, organization: str, budget_id: str, subject: str, period_name: str) -> tuple[int, int] | None:
        """What a budget has spent, and the `seq` of the last event by then: one instant's truth for the ledger."""
        name = _budget_name(organization, budget_id, subject, period_name)

        def read() -> list[Any]:
            together = self._redis.pipeline(transaction=True)
            return list(together.hget(name, "spent").get(_name(organization, "seq")).execute())

        spent, seq = self._call(read)
        return None if spent is None else (int(spent), int(seq or 0))

    # The engine.

    def reserve(self, reservation: Reservation) -> Granted | Denied | Unready:
        """Hold what a call may use against everything that applies to it, or nothing; a probe only asks."""
        arguments = [_plan(reservation), reservation.draft, REFUSALS_WRITTEN_A_SECOND, REFUSAL_REMEMBERED_MS]
        answer = self._run("reserve", _reserve_names(reservation), arguments)
        if answer[0] == b"granted":
            return _granted(reservation, answer)
        if answer[0] == b"denied":
            check = _checks(reservation)[answer[1] - 1]
            retry_after_ms = None if answer[2] < 0 else answer[2]
            states = _limit_states(reservation, answer[3]) if answer[3] else ()
            return Denied(check=check, retry_after_ms=retry_after_ms, limits=states)
        return Unready(reason=answer[1].decode())

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
        names = [_name(organization, name) for name in ("leases", "seq", "events")]
        return int(self._run("expire", names, [_name(organization, "hold:"), most, LATE_TRUTH_MS]))

    def open_holds(self, organization: str) -> int:
        return int(self._call(lambda: self._redis.zcard(_name(organization, "leases"))))

    def _settle(self, organization: str, arguments: list[Any], lost: list[Any]) -> PostResult:
        check_request_id(arguments[0])
        names = [_hold_name(organization, arguments[0]), *(_name(organization, n) for n in ("leases", "seq", "events"))]
        return cast(PostResult, self._run("post", names, [*arguments, TOMBSTONE_MS, *lost]).decode())

    # The event stream: written by the scripts, read by the ledger.

    def organizations(self) -> set[str]:
        members = self._call(lambda: self._redis.smembers(_ORGANIZATIONS))
        return {member.decode() for member in cast(set[bytes], members)}

    def read_events(self, organization: str, consumer: str, *, most: int, block_ms: int) -> list[StreamEntry]:
        """What this consumer has to work on next: its own unacknowledged entries, else those that another consumer
        has left lying, else new ones, for which it waits up to `block_ms`, in steps of Redis' tenth of a second."""
        stream = _name(organization, "events")
        return self._in_group(
            stream,
            lambda: (
                self._pending_of(stream, consumer, most)
                or self._abandoned(stream, consumer, most)
                or self._fresh(stream, consumer, most, block_ms)
            ),
        )

    def ack_events(self, organization: str, entry_ids: Iterable[str]) -> None:
        ids = list(entry_ids)
        if ids:
            self._call(lambda: self._redis.xack(_name(organization, "events"), _GROUP, *ids))

    def trim_events(self, organization: str) -> int:
        """Drop what every consumer has acknowledged; return how many entries that were."""
        stream = _name(organization, "events")

        def trim() -> int:
            group = self._redis.xinfo_groups(stream)[0]
            oldest_pending = self._redis.xpending(stream, _GROUP)["min"]
            return int(self._redis.xtrim(stream, minid=oldest_pending or group["last-delivered-id"], approximate=False))

        return self._in_group(stream, trim)

    def _pending_of(self, stream: str, consumer: str, most: int) -> list[StreamEntry]:
        answer = self._redis.xreadgroup(_GROUP, consumer, {stream: "0"}, count=most)
        return self._with_deliveries(stream, consumer, answer[0][1] if answer else [])

    def _abandoned(self, stream: str, consumer: str, most: int) -> list[StreamEntry]:
        _, claimed, _ = self._redis.xautoclaim(stream, _GROUP, consumer, ABANDONED_AFTER_MS, count=most)
        return self._with_deliveries(stream, consumer, claimed)

    def _fresh(self, stream: str, consumer: str, most: int, block_ms: int) -> list[StreamEntry]:
        # To Redis, a wait of 0 is for ever; None is none.
        block_ms = min(block_ms, self._longest_block_ms)
        answer = self._redis.xreadgroup(_GROUP, consumer, {stream: ">"}, count=most, block=block_ms or None)
        return [_entry(entry_id, fields, 1) for entry_id, fields in (answer[0][1] if answer else [])]

    def _with_deliveries(self, stream: str, consumer: str, entries: list[Any]) -> list[StreamEntry]:
        if not entries:
            return []
        rows = self._redis.xpending_range(stream, _GROUP, entries[0][0], entries[-1][0], len(entries), consumer)
        deliveries = {row["message_id"]: row["times_delivered"] for row in rows}
        return [_entry(entry_id, fields, deliveries.get(entry_id, 1)) for entry_id, fields in entries if fields]

    def _in_group(self, stream: str, work: Callable[[], _Answer]) -> _Answer:
        """Do something that needs the consumer group, which is made on first use."""

        def attempt() -> _Answer:
            try:
                return work()
            except ResponseError as error:
                if "NOGROUP" not in str(error) and "no such key" not in str(error):
                    raise
                self._make_group(stream)
                return work()

        return self._call(attempt)

    def _make_group(self, stream: str) -> None:
        try:
            self._redis.xgroup_create(stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    # Calls.

    def _run(self, name: str, names: list[str], arguments: list[Any]) -> Any:
        script = self._scripts.get(name) or self._scripts.setdefault(name, _Script(script_source(name, self._clock)))
        return self._call(lambda: script.run(self._redis, names, arguments))

    def _call(self, work: Callable[[], _Answer]) -> _Answer:
        """Do it, and once more if the connection failed: everything here may be repeated."""
        try:
            return work()
        except (redis.ConnectionError, redis.TimeoutError):
            try:
                return work()
            except RedisError as error:
                raise StoreUnavailable(str(error)) from error
        except RedisError as error:
            raise StoreUnavailable(str(error)) from error


class _Script:
    """A script by its digest; Redis is given the source only when it does not know it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: redis.Redis, names: list[str], arguments: list[Any]) -> Any:
        try:
            return client.evalsha(self._digest, len(names), *names, *arguments)
        except NoScriptError:
            return client.eval(self._source, len(names), *names, *arguments)


def _name(organization: str, rest: str) -> str:
    return f"bursar:{{{organization}}}:{rest}"


def _key_name(key_id: str) -> str:
    return f"bursar:key:{key_id}"


def _hold_name(organization: str, request_id: str) -> str:
    return _name(organization, f"hold:{request_id}")


def _budget_name(organization: str, budget_id: str, subject: str, period_name: str) -> str:
    return _name(organization, f"budget:{budget_id}:{subject}:{period_name}")


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


def _reserve_names(reservation: Reservation) -> list[str]:
    organization = reservation.organization
    names = [_hold_name(organization, reservation.request_id)]
    names += [_name(organization, n) for n in ("ready", "policy_number", "leases", "seq", "events", "refusals")]
    # A window of another length has slices of another length, so it is another counter.
    names += [_name(organization, f"limit:{c.id}:{c.subject}:{c.unit}:{c.window_ms}") for c in reservation.limits]
    for check in reservation.budgets:
        for period in (check.current, check.following):
            names.append(_budget_name(organization, check.id, check.subject, period.name))
    return names


def _plan(reservation: Reservation) -> bytes:
    """The reservation without its draft: Redis' MessagePack knows text, not bytes."""
    names = ("request_id", "policy_number", "lease_ms", "hold_nusd", "hold_tokens", "limits", "budgets", "probe")
    return msgspec.msgpack.encode({name: getattr(reservation, name) for name in names})


def _checks(reservation: Reservation) -> tuple[LimitCheck | BudgetCheck, ...]:
    return (*reservation.limits, *reservation.budgets)


def _granted(reservation: Reservation, answer: list[Any]) -> Granted:
    _, reserved_at_ms, granted_nusd, numbers, shadows = answer
    return Granted(
        reserved_at_ms=reserved_at_ms,
        granted_nusd=granted_nusd,
        limits=_limit_states(reservation, numbers),
        shadow_refusals=tuple(_checks(reservation)[number - 1].scope_name for number in shadows),
    )


def _limit_states(reservation: Reservation, numbers: list[int]) -> tuple[LimitState, ...]:
    states = zip(reservation.limits, numbers[0::2], numbers[1::2], strict=True)
    return tuple(LimitState(check=check, remaining=left, reset_ms=reset) for check, left, reset in states)


def _entry(entry_id: bytes, fields: dict[bytes, bytes], deliveries: int) -> StreamEntry:
    return StreamEntry(
        entry_id=entry_id.decode(), type=fields[b"type"].decode(), data=fields[b"data"], deliveries=deliveries
    )
