"""The way from a reservation to a hold that is written down, and back where a call does not go on."""

from __future__ import annotations

import logging

import msgspec

from kong_plugins.llm.errors import PolicyUnavailable, StoreUnavailable
from kong_plugins.llm.grants import CallFacts, event_fields
from kong_plugins.llm.journal import JournalUnavailable
from kong_plugins.llm.limits import Denied, Granted, Reservation, Unready, Waiting
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.refusals import undecided
from kong_plugins.llm.routes import PolicyBehind
from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)


class Holds:
    """Holds calls in Redis, and writes down what is held before it is granted."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox

    def reserve(self, reservation: Reservation) -> Granted | Denied | Waiting:
        """Hold what the call may use, or have it wait; a probe does neither.

        Raises:
            PolicyBehind: a newer policy is in force.
            PolicyUnavailable: nothing can be decided at the moment; what may be held is given back.
        """
        try:
            result = self._store.reserve(reservation)
        except StoreUnavailable as error:
            if not reservation.probe:
                self._give_up(reservation)
            raise undecided() from error
        if isinstance(result, Unready):
            raise undecided(PolicyBehind if result.reason == "stale_policy" else PolicyUnavailable)
        if isinstance(result, Granted) and not reservation.probe:
            self._write_down(reservation, result)
        return result

    def give_back(self, facts: CallFacts) -> None:
        """End the hold of a call that was granted and did not go on."""
        self._outbox.void(facts.organization, facts.request_id, event_fields(facts, outcome="not_sent"))

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
