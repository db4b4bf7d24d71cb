"""What the store offers to bring Redis back after it has lost something. It belongs to `store.py`, and knows its names.

Counters are set from the ledger, holds from the gateways' journals. What was counted in neither is told to Redis by
whoever takes it into the ledger, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kong_plugins.llm.journal import Held
from kong_plugins.llm.names import budget_name, hold_name, live_name
from kong_plugins.llm.release import Tier
from kong_plugins.llm.store import GROUP, LATE_TRUTH_MS, Store


class RedisState(msgspec.Struct, frozen=True):
    """Which Redis answers, and how complete it says an organization's counters are.

    `server` changes when another process answers; `epoch` is None where the counters are not complete; what was posted
    since `replay_since_ms` was perhaps lost before this epoch.
    """

    server: str
    epoch: int | None
    seq: int
    replay_since_ms: int


class CounterPlace(msgspec.Struct, frozen=True):
    """Where a budget of one subject counts in one period; with a `tier`, where the calls of its share do."""

    budget: str
    subject: str
    period: str
    tier: Tier | None = None

    @property
    def field(self) -> str:
        return "spent" if self.tier is None else f"spent:{self.tier}"


class Difference(msgspec.Struct, frozen=True):
    """By how much a counter is to change. A period that nobody has made beforehand is kept until `kept_until_ms`."""

    place: CounterPlace
    amount: int
    kept_until_ms: int | None = None


class Recovery:
    """The store's rarer calls. All raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._connection = store.connection

    def state(self, organization: str) -> RedisState:
        redis: Any = self._connection.redis
        names = [live_name(organization, name) for name in ("ready", "seq", "replay_since")]

        def read() -> tuple[Any, list[Any]]:
            return redis.info("server"), redis.mget(names)

        server, (epoch, seq, since) = self._connection.call(read)
        return RedisState(
            server=server["run_id"],
            epoch=None if epoch is None else int(epoch),
            seq=int(seq or 0),
            replay_since_ms=int(since or 0),
        )

    def restore(self, held: Held) -> bool:
        """Hold what was granted; False where Redis knows of the call."""
        organization = held.organization
        names = [hold_name(organization, held.request_id), live_name(organization, "leases")]
        names += [budget_name(organization, each.budget, each.subject, each.period) for each in held.budgets]
        # To the script, None is absent.
        hold = {
            "nusd": held.hold_nusd,
            "tokens": held.hold_tokens,
            "reserved_at_ms": held.reserved_at_ms,
            "limits": [],
            "budgets": [{"unit": each.unit, "cost": each.cost, "tier": each.tier} for each in held.budgets],
        }
        arguments = [held.request_id, held.lease_ends_at_ms, msgspec.msgpack.encode(hold), bytes(held.draft)]
        return bool(self._connection.run("restore", names, arguments))

    def adjust(self, organization: str, event_id: str, differences: Sequence[Difference]) -> bool:
        """Count what the ledger has taken and the counters do not know; False where this was counted before.

        `event_id` names the differences; an amount that is negative lowers what was spent.
        """
        names = [live_name(organization, f"counted:{event_id}"), live_name(organization, "events")]
        arguments: list[str | int] = [LATE_TRUTH_MS]
        for each in differences:
            names.append(_counter(organization, each.place))
            arguments += [each.place.field, each.amount, "" if each.kept_until_ms is None else each.kept_until_ms]
        return bool(self._connection.run("adjust", names, arguments))

    def spent_at(self, organization: str, places: Sequence[CounterPlace]) -> tuple[list[int | None], int]:
        """What each counter has spent, None where there is none, and the `seq` of the last event by then: one instant's
        truth for the ledger."""

        def read() -> list[Any]:
            together: Any = self._connection.redis.pipeline(transaction=True)
            _read_spent(together, organization, places)
            return list(together.get(live_name(organization, "seq")).execute())

        *spent, seq = self._connection.call(read)
        return [None if each is None else int(each) for each in spent], int(seq or 0)

    def close_admission(self, organization: str) -> None:
        """Declare the counters incomplete, so that nothing is admitted."""
        self._connection.call(lambda: self._connection.redis.delete(live_name(organization, "ready")))

    def open_admission(self, organization: str, epoch: int, *, replay_since_ms: int) -> None:
        """Declare the counters complete, and have gateways send again what was posted since then."""
        values = {live_name(organization, "replay_since"): replay_since_ms, live_name(organization, "ready"): epoch}
        self._connection.call(lambda: self._connection.redis.mset(values))

    def continue_sequence(self, organization: str, seq: int) -> None:
        """Let events be numbered from here on, if they are not already further."""

        def advance() -> None:
            redis: Any = self._connection.redis
            name = live_name(organization, "seq")
            missing = seq - int(redis.get(name) or 0)
            if missing > 0:
                redis.incrby(name, missing)

        self._connection.call(advance)

    def spent_when_drained(self, organization: str, places: Sequence[CounterPlace]) -> list[int] | None:
        """What each counter has spent, at an instant at which all of the stream is acknowledged; None where it is
        not."""
        stream = live_name(organization, "events")

        def read() -> list[Any]:
            together: Any = self._connection.redis.pipeline(transaction=True)
            _read_spent(together, organization, places)
            return list(together.xinfo_stream(stream).xinfo_groups(stream).execute())

        *spent, of_stream, groups = self._connection.in_group(stream, GROUP, read)
        # Of a stream that nobody has ever read, there is no group.
        read_until = groups[0]["last-delivered-id"] if groups else b"0-0"
        is_drained = read_until == of_stream["last-generated-id"] and not (groups and groups[0]["pending"])
        return [int(each or 0) for each in spent] if is_drained else None


def _read_spent(together: Any, organization: str, places: Sequence[CounterPlace]) -> None:
    for place in places:
        together.hget(_counter(organization, place), place.field)


def _counter(organization: str, place: CounterPlace) -> str:
    return budget_name(organization, place.budget, place.subject, place.period)
