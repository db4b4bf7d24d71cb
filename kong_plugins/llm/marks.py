"""Marks of deployments that are failing: kept in Redis, so that all gateways pass them over, each as far as another
candidate can serve a call (`scripts/reserve.lua`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from kong_plugins.llm.names import live_name

if TYPE_CHECKING:
    from kong_plugins.llm.store import Store

# How a call has ended, as far as its deployment is concerned.
Ending = Literal["failed", "succeeded", "neither"]

_LONGEST_MS: Final = 86_400_000


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Why a deployment is passed over, by Redis' clock: it has failed `failures` times in a row since `since_ms`, the
    last time with `status`. Until `until_ms` no call goes there that can go elsewhere, and after that only one at a
    time, the `trial`, until one succeeds."""

    since_ms: int
    marked_at_ms: int
    until_ms: int
    failures: int
    status: int
    trial: str | None = None
    trial_until_ms: int | None = None


class Marks:
    """The marks of all organizations."""

    def __init__(self, store: Store) -> None:
        self._connection = store.connection

    def note(
        self,
        organization: str,
        deployment: str,
        ending: Ending,
        *,
        request_id: str,
        reserved_at_ms: int,
        status: int,
        passed_over_ms: int | None = None,
    ) -> bool:
        """Note how a call has ended; True where a mark was made by it, made longer, or taken away.

        `passed_over_ms` is for how long a failure is to keep calls away; None for a time that doubles with each failure
        in a row, from a second to a minute. Raises: StoreUnavailable.
        """
        if passed_over_ms is not None and not 0 <= passed_over_ms <= _LONGEST_MS:
            raise ValueError(f"not so long is a deployment passed over: {passed_over_ms} ms")
        asked_ms = "" if passed_over_ms is None else passed_over_ms
        arguments = [deployment, ending, request_id, reserved_at_ms, asked_ms, status]
        return bool(self._connection.run("mark", [live_name(organization, "failing")], arguments))

    def all(self, organization: str) -> dict[str, Mark]:
        """The marks by deployment. Raises: StoreUnavailable."""
        redis = self._connection.redis
        stored = self._connection.call(lambda: redis.hgetall(live_name(organization, "failing")))
        return {
            name.decode(): msgspec.msgpack.decode(mark, type=Mark)
            for name, mark in cast(dict[bytes, bytes], stored).items()
        }

    def clear(self, organization: str, deployment: str) -> bool:
        """Take a mark away, so that calls go there again; False where there is none. Raises: StoreUnavailable."""
        redis = self._connection.redis
        return bool(self._connection.call(lambda: redis.hdel(live_name(organization, "failing"), deployment)))
