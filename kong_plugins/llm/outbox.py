"""The way from a gateway to Redis for what must arrive: first into the journal, to Redis as soon as it answers.

Two loops run beside the requests: one brings the journal to the disk, the other sends what could not be sent, takes
over from dead processes, and watches for a Redis that has lost something.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.journal import (
    Done,
    Held,
    HeldBudget,
    Journal,
    JournalUnavailable,
    News,
    Place,
    Settled,
    done_with,
)
from kong_plugins.llm.limits import BudgetCheck, Granted, Reservation
from kong_plugins.llm.recovery import Recovery, RedisState
from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

# A power cut loses what was written in the last of these.
_SYNC_EVERY_S: Final = 0.05
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LOOK_EVERY_S: Final = 1.0
_TIDY_EVERY_S: Final = 10.0
# What a Redis that was failed over, or whose machine was, may have lost; longer than any lag between replicas, and
# shorter than Redis remembers a settled call.
_FAILOVER_MS: Final = 600_000
_BREATHE_AFTER_RECORDS: Final = 100
_LONGEST_LEASE_MS: Final = 86_400_000


class Outbox:
    """One process's outbox. Without a journal, what Redis has not been told of dies with the process."""

    def __init__(
        self,
        store: Store,
        journal: Journal | None,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._recovery = Recovery(store)
        self._journal = journal
        self._now_ms = now_ms
        self._waiting: dict[Done, News | Place] = {}
        self._states: dict[str, RedisState] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take over what dead processes have left, and go on beside the requests until closed."""
        if self._journal is None:
            logger.warning(
                "BURSAR_JOURNAL_DIR is not set: a call that ends while Redis is away is charged at its whole hold"
                " should this process end before Redis is back, and none goes on without Redis"
            )
        else:
            marks = self._journal.marks()
            self._states = {name: msgspec.json.decode(mark, type=RedisState) for name, mark in marks.items()}
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in (self._sync, self._send)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; what is unsent is for the next process."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        if self._journal is not None:
            self._journal.close()

    def hold(self, reservation: Reservation, granted: Granted) -> None:
        """Write down a grant before it is given out.

        Raises:
            JournalUnavailable: it is not written down.
        """
        if self._journal is not None:
            self._journal.append(_held(reservation, granted))
            self._watch(reservation.organization)

    def hold_later(self, reservation: Reservation, granted: Granted) -> None:
        """Write down a grant that Redis does not know of before it is given out, and see to it that Redis holds it when
        it answers again. It needs a journal.

        Raises:
            JournalUnavailable: it is not written down.
        """
        assert self._journal is not None, "nothing else would remember it"
        held = msgspec.structs.replace(_held(reservation, granted), is_news=True)
        self._waiting[done_with(held)] = self._journal.append(held)
        self._watch(reservation.organization)
        self._wake.set()

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
    ) -> None:
        """See to it that Redis is told what a call has cost, now or when it answers again."""
        self._settle(
            Settled(
                organization=organization,
                request_id=request_id,
                kind="posted",
                amount_nusd=amount_nusd,
                tokens=tokens,
                event_fields=msgspec.Raw(event_fields),
                reserved_at_ms=reserved_at_ms,
                hold_nusd=hold_nusd,
                at_ms=self._now_ms(),
            )
        )

    def void(self, organization: str, request_id: str, event_fields: bytes, *, later: bool = False) -> None:
        """See to it that Redis gives a hold back. With `later`, not in the time of the request that waits."""
        settled = Settled(
            organization=organization,
            request_id=request_id,
            kind="voided",
            amount_nusd=0,
            tokens=0,
            event_fields=msgspec.Raw(event_fields),
            reserved_at_ms=None,
            hold_nusd=0,
            at_ms=self._now_ms(),
        )
        self._settle(settled, later=later)

    @property
    def has_journal(self) -> bool:
        return self._journal is not None

    @property
    def waiting(self) -> int:
        """How many calls that were settled, or granted without it, Redis has not been told of."""
        return len(self._waiting)

    def _settle(self, settled: Settled, *, later: bool = False) -> None:
        item: News | Place = settled
        if self._journal is not None:
            try:
                item = self._journal.append(settled)
            except JournalUnavailable as error:
                logger.error("%s is not in the journal: %s", settled.request_id, error)
        self._watch(settled.organization)
        # While others wait, Redis is away: no request has to find that out again.
        if not later and not self._waiting:
            with suppress(StoreUnavailable):
                self._tell(settled)
                self._told(done_with(settled), item)
                return
        self._waiting[done_with(settled)] = item
        self._wake.set()

    def _watch(self, organization: str) -> None:
        self._states.setdefault(organization, _UNKNOWN)

    def _tell(self, news: News) -> None:
        try:
            if isinstance(news, Held):
                self._recovery.restore(news)
            else:
                self._tell_end(news)
        except ValueError:
            logger.exception("%s cannot be counted; its hold will be posted in full", news.request_id)

    def _tell_end(self, settled: Settled) -> None:
        fields = bytes(settled.event_fields)
        if settled.kind == "voided":
            self._store.void(settled.organization, settled.request_id, event_fields=fields)
        else:
            self._store.post(
                settled.organization,
                settled.request_id,
                amount_nusd=settled.amount_nusd,
                tokens=settled.tokens,
                event_fields=fields,
                reserved_at_ms=settled.reserved_at_ms,
                hold_nusd=settled.hold_nusd,
            )

    def _told(self, done: Done, item: News | Place) -> None:
        if self._journal is not None and isinstance(item, Place):
            self._journal.settle(item, done)

    def _sync(self) -> None:
        while self._journal is not None and not self._stopping.wait(_SYNC_EVERY_S):
            try:
                self._journal.sync()
            except OSError as error:
                logger.error("the journal cannot be brought to the disk: %s", error)

    def _send(self) -> None:
        pause_s, tidied_s = _FIRST_PAUSE_S, float("-inf")
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if time.monotonic() - tidied_s >= _TIDY_EVERY_S:
                    tidied_s = time.monotonic()
                    self._take_over()
                self._send_waiting()
                self._look_for_losses()
            except StoreUnavailable as error:
                logger.warning("%d calls wait for Redis to be told of them: %s", len(self._waiting), error)
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception:
                logger.exception("the outbox goes on after an error")
                self._stopping.wait(_LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S
                self._wake.wait(_LOOK_EVERY_S)

    def _take_over(self) -> None:
        if self._journal is None or not self._journal.folder.exists():
            return
        adopted = self._journal.adopt()
        if adopted:
            logger.warning("%d calls that a process left unsettled are settled now", len(adopted))
        for place, news in adopted.items():
            self._waiting[done_with(news)] = place
        self._journal.tidy()

    def _send_waiting(self) -> None:
        for done, item in list(self._waiting.items()):
            news = self._read(item)
            if news is not None:
                self._tell(news)
                self._told(done, item)
            self._waiting.pop(done, None)

    def _read(self, item: News | Place) -> News | None:
        if isinstance(item, News) or self._journal is None:
            return item if isinstance(item, News) else None
        record = self._journal.read(item)
        if not isinstance(record, News):
            logger.error("%s: what a call has cost cannot be read any more; its hold will be posted in full", item)
            return None
        return record

    def _look_for_losses(self) -> None:
        """Send again what Redis may have lost, where another Redis answers or one whose counters were rebuilt."""
        for organization, before in list(self._states.items()):
            now = self._recovery.state(organization)
            if before is not _UNKNOWN and _has_lost(before, now):
                since_ms = self._now_ms() - _FAILOVER_MS
                if now.epoch is not None and now.epoch != before.epoch:
                    since_ms = min(since_ms, now.replay_since_ms)
                self._send_again(organization, since_ms)
            if self._journal is not None and (now.server, now.epoch) != (before.server, before.epoch):
                self._journal.mark(organization, msgspec.json.encode(now))
            self._states[organization] = now

    def _send_again(self, organization: str, since_ms: int) -> None:
        """Hold what is not settled, then settle once more what was settled since then. Redis does each only once."""
        restored = sum(map(self._recovery.restore, self._running(organization)))
        logger.warning("%s: Redis may have lost something; %d holds were restored", organization, restored)
        for record in self._records(organization, since_ms):
            if isinstance(record, Settled) and record.at_ms >= since_ms:
                self._tell(record)

    def _running(self, organization: str) -> list[Held]:
        """What this node has granted and not settled, and whose lease is not over."""
        now_ms = self._now_ms()
        settled, held = set[str](), list[Held]()
        for record in self._records(organization, now_ms - _LONGEST_LEASE_MS):
            if isinstance(record, Settled):
                settled.add(record.request_id)
            elif record.lease_ends_at_ms > now_ms:
                held.append(record)
        return [each for each in held if each.request_id not in settled]

    def _records(self, organization: str, since_ms: int) -> Iterator[Held | Settled]:
        """What the journal says of an organization, read so that requests go on meanwhile."""
        for number, record in enumerate(self._journal.records(since_ms) if self._journal is not None else ()):
            if number % _BREATHE_AFTER_RECORDS == 0:
                time.sleep(0)
            if not isinstance(record, Done) and record.organization == organization:
                yield record


_UNKNOWN: Final = RedisState(server="", epoch=None, seq=0, replay_since_ms=0)


def _has_lost(before: RedisState, now: RedisState) -> bool:
    return now.server != before.server or now.epoch != before.epoch or now.seq < before.seq


def _held(reservation: Reservation, granted: Granted) -> Held:
    costs = {"nusd": granted.granted_nusd}
    return Held(
        organization=reservation.organization,
        request_id=reservation.request_id,
        lease_ends_at_ms=granted.reserved_at_ms + reservation.lease_ms,
        reserved_at_ms=granted.reserved_at_ms,
        hold_nusd=None if reservation.hold_nusd is None else granted.granted_nusd,
        hold_tokens=reservation.hold_tokens,
        budgets=tuple(
            HeldBudget(
                budget=check.id,
                subject=check.subject,
                period=_period(check, granted.reserved_at_ms),
                unit=check.unit,
                cost=costs.get(check.unit, check.cost),
                tier=check.tier,
            )
            for check in reservation.budgets
        ),
        draft=msgspec.Raw(_draft(reservation, granted)),
    )


def _draft(reservation: Reservation, granted: Granted) -> bytes:
    """The fields of the call's event, with what only the grant has shown."""
    if not granted.shadow_refusals:
        return reservation.draft
    fields = msgspec.json.decode(reservation.draft)
    return msgspec.json.encode(fields | {"shadow_refusals": granted.shadow_refusals})


def _period(check: BudgetCheck, at_ms: int) -> str:
    """The name of the period in which Redis has held the call."""
    return check.current.name if at_ms < check.current.end_ms else check.following.name
