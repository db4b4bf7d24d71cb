"""The long-running reader of every organization's stream."""

from __future__ import annotations

import logging
import signal
from typing import Final

from django.db import Error, close_old_connections, connection

from control_plane.ledger.ingest import record
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

_BATCH: Final = 500
# Streams are polled and not waited for: one connection cannot wait for many, and a wait in Redis ends late.
_IDLE_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 10.0


class StopRequest:
    """SIGTERM or SIGINT, held back until it is asked for, so that neither cuts a batch in two."""

    _SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})

    def __init__(self) -> None:
        self._came = False
        signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)

    def comes_within(self, seconds: float) -> bool:
        """Whether a signal has come, or does within so many seconds."""
        if not self._came:
            self._came = signal.sigtimedwait(self._SIGNALS, seconds) is not None
        return self._came


class Consumer:
    """One member of the streams' consumer group. Any number may run; each needs a name of its own."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def run(self, stop: StopRequest) -> None:
        """Ingest until asked to stop. While Redis or Postgres is away, try again, ever less often."""
        pause_seconds = 0.0
        while not stop.comes_within(pause_seconds):
            try:
                pause_seconds = 0.0 if self._ingest_once() else _IDLE_PAUSE_SECONDS
            except (StoreUnavailable, Error) as error:
                connection.close()
                pause_seconds = min(max(2 * pause_seconds, _IDLE_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                logger.warning("cannot ingest, trying again in %.1f s: %s", pause_seconds, error)

    def drain(self) -> None:
        """Ingest until nothing is left that this consumer may read."""
        while self._ingest_once():
            pass

    def _ingest_once(self) -> int:
        """Take a batch from each stream; return how many entries there were in all."""
        close_old_connections()
        connection.ensure_connection()  # while Postgres is away, nothing is taken from a stream
        return sum(self._ingest_batch(organization) for organization in self._store.organizations())

    def _ingest_batch(self, organization: str) -> int:
        entries = self._store.read_events(organization, self._name, most=_BATCH, block_ms=0)
        if entries and (recorded := record(organization, entries)):
            self._store.ack_events(organization, recorded)
        return len(entries)
