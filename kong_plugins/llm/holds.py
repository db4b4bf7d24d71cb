"""The way from a reservation to a hold that is written down, and back where a call does not go on."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from kong_plugins.llm.errors import PolicyUnavailable, StoreNotAsked, StoreUnavailable
from kong_plugins.llm.grants import CallFacts, event_fields
from kong_plugins.llm.journal import JournalUnavailable
from kong_plugins.llm.limits import Denied, Failing, Granted, Reservation, Unready, Waiting
from kong_plugins.llm.local_limits import LocalLimits
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.refusals import undecided
from kong_plugins.llm.routes import PolicyBehind
from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

# As long as keys are known without Redis, and no longer is a policy that may have been replaced meanwhile.
WITHOUT_REDIS_MS: Final = 60_000


class Holds:
    """Holds calls in Redis, and writes down what is held before it is granted. While Redis is away, calls that may do
    without it are granted by this gateway's own count, and held in Redis as soon as it answers."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        local_limits: LocalLimits,
        *,
        now_ms: Callable[[], int],
        elapsed_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._local_limits = local_limits
        self._now_ms = now_ms
        self._elapsed_ms = elapsed_ms
        # When Redis last decided for an organization, and thus under the policy that is known here.
        self._decided_at_ms: dict[str, int] = {}

    def reserve(self, reservation: Reservation) -> Granted | Failing | Denied | Waiting:
        """Hold what the call may use, or have it wait; a probe does neither.

        Raises:
            PolicyBehind: a newer policy is in force.
            PolicyUnavailable: nothing can be decided at the moment; what may be held is given back.
        """
        asked_at_ms = self._elapsed_ms()
        try:
            result = self._store.reserve(reservation)
        except StoreUnavailable as error:
            return self._reserve_without_redis(reservation, error)
        except BaseException:
            # The handler is ended while it waits for Redis, which may hold the call all the same.
            if not reservation.probe:
                self._give_up(reservation)
            raise
        if isinstance(result, Unready):
            raise undecided(PolicyBehind if result.reason == "stale_policy" else PolicyUnavailable)
        self._decided_at_ms[reservation.organization] = asked_at_ms
        if isinstance(result, Granted) and not reservation.probe:
            self._write_down(reservation, result)
        return result

    def give_back(self, facts: CallFacts) -> None:
        """End the hold of a call that was granted and did not go on."""
        self._outbox.void(facts.organization, facts.request_id, event_fields(facts, outcome="not_sent"))

    def _reserve_without_redis(self, reservation: Reservation, error: StoreUnavailable) -> Granted | Denied:
        may_be_held = not reservation.probe and not isinstance(error, StoreNotAsked)
        if may_be_held:
            self._give_up(reservation)
        result = self._local_decision(reservation)
        # No other candidate may be tried under an id that is being given up.
        if result is None or (may_be_held and isinstance(result, Denied) and not reservation.is_last):
            raise undecided() from error
        if isinstance(result, Granted) and not reservation.probe:
            return self._write_down_as_another(reservation, result)
        return result

    def _local_decision(self, reservation: Reservation) -> Granted | Denied | None:
        """What this gateway decides by itself; None where it must not, or cannot."""
        decided_at_ms = self._decided_at_ms.get(reservation.organization)
        is_known = decided_at_ms is not None and self._elapsed_ms() - decided_at_ms <= WITHOUT_REDIS_MS
        if not (reservation.without_redis and is_known and self._outbox.has_journal):
            return None
        return self._local_limits.reserve(reservation, reserved_at_ms=self._now_ms())

    def _write_down_as_another(self, reservation: Reservation, granted: Granted) -> Granted:
        """Have a grant that Redis does not know of in the journal, under an id that it cannot have held. Whatever
        cannot be written must not be spent: nothing else would know of it."""
        request_id = str(uuid.uuid4())
        draft = msgspec.json.decode(reservation.draft) | {"request_id": request_id}
        other = msgspec.structs.replace(reservation, request_id=request_id, draft=msgspec.json.encode(draft))
        try:
            self._outbox.hold_later(other, granted)
        except JournalUnavailable as error:
            raise undecided() from error
        return msgspec.structs.replace(granted, other_id=request_id)

    def _write_down(self, reservation: Reservation, granted: Granted) -> None:
        """Have the grant in the journal before it is given out. What cannot be written must not be spent, unless no
        budget would refuse it anyway."""
        try:
            self._outbox.hold(reservation, granted)
        except JournalUnavailable as error:
            if any(budget.refuses for budget in reservation.budgets):
                self._outbox.void(reservation.organization, reservation.request_id, _given_up(reservation))
                raise undecided() from error
            logger.error("a grant is not in the journal: %s", error)

    def _give_up(self, reservation: Reservation) -> None:
        """The answer was lost, so the call may be held. A void frees it, or keeps the id from being held later."""
        self._outbox.void(reservation.organization, reservation.request_id, _given_up(reservation), later=True)


def _given_up(reservation: Reservation) -> bytes:
    """The fields of the event of a hold whose call was not let go on."""
    return msgspec.json.encode(msgspec.json.decode(reservation.draft) | {"outcome": "undecided"})
