"""The waiting room of one node: those of its calls that stand in lines, and when each of them tries again.

The lines themselves lie in Redis, where one order holds for all nodes. From there it is heard when something is freed,
and then only the first of this node's calls in each line tries; the next one does when that one has been admitted or
has left. Beside that each call tries once a second, by which Redis knows that it is still there.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import insort
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Final

from kong_plugins.llm.errors import StoreClosed, StoreUnavailable
from kong_plugins.llm.limits import Waiting
from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

# Redis takes a call that has not asked for three seconds for gone.
_ASK_EVERY_S: Final = 1.0
_SHORTEST_WAIT_S: Final = 0.01
_LISTEN_FOR_S: Final = 0.25
_PAUSE_S: Final = 1.0

# Whose line it is: the organization, a rule, its subject, and the tier whose share it is about.
_Line = tuple[str, str, str, str | None]


class WaitingRoom:
    """Room for so many calls, and for so many bytes of their bodies; a call that finds none does not wait."""

    def __init__(self, store: Store, *, most_waiting: int, most_bytes: int) -> None:
        self._store = store
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._visits: set[Visit] = set()
        self._bytes = 0
        self._lines: dict[_Line, list[Visit]] = {}
        self._awaited: Counter[str] = Counter()
        self._listening: set[str] = set()

    def __len__(self) -> int:
        return len(self._visits)

    def visit(self, organization: str, request_id: str, *, size_bytes: int, patience_ms: int | None) -> Visit:
        """The visit of one call, for as long as the context lasts; it waits for at most `patience_ms`, if given."""
        return Visit(self, organization, request_id, size_bytes=size_bytes, patience_ms=patience_ms)

    def place(self, visit: Visit, line: _Line) -> bool:
        """Have a call stand in one line, and in no other; False where there is no room for it."""
        with self._lock:
            if visit not in self._visits and not self._let_in(visit):
                return False
            if visit.line != line:
                self._step_out(visit)
                visit.line = line
                insort(self._lines.setdefault(line, []), visit, key=lambda each: each.place or 0)
        return True

    def leave(self, visit: Visit) -> None:
        """The call waits no longer, and the one behind it may try."""
        with self._lock:
            if visit in self._visits:
                self._step_out(visit)
                self._visits.remove(visit)
                self._bytes -= visit.size_bytes
                self._awaited[visit.organization] -= 1
        if visit.place is not None and not visit.is_decided:
            # Where Redis is away, it finds the call gone after three seconds.
            with suppress(StoreUnavailable):
                self._store.leave(visit.organization, visit.request_id)

    def _let_in(self, visit: Visit) -> bool:
        if len(self._visits) >= self._most_waiting or self._bytes + visit.size_bytes > self._most_bytes:
            return False
        self._visits.add(visit)
        self._bytes += visit.size_bytes
        self._awaited[visit.organization] += 1
        if visit.organization not in self._listening:
            self._listening.add(visit.organization)
            threading.Thread(
                target=self._listen, args=(visit.organization,), name=f"listener of {visit.organization}", daemon=True
            ).start()
        return True

    def _step_out(self, visit: Visit) -> None:
        if visit.line is None:
            return
        behind = self._lines[visit.line]
        behind.remove(visit)
        if behind:
            behind[0].wake()
        else:
            del self._lines[visit.line]
        visit.line = None

    def _listen(self, organization: str) -> None:
        """Wake calls by what is heard, until none waits any more, or the store is closed."""
        while self._goes_on(organization):
            try:
                with self._store.freed(organization) as is_heard:
                    while self._awaited[organization]:
                        if is_heard(_LISTEN_FOR_S):
                            self._wake_first(organization)
            except StoreClosed:
                return
            except StoreUnavailable as error:
                logger.warning("%s: calls that wait only try once a second: %s", organization, error)
                time.sleep(_PAUSE_S)
            except Exception:
                # A thread that ended here would never be started again.
                logger.exception("%s: calls that wait only try once a second", organization)
                time.sleep(_PAUSE_S)

    def _goes_on(self, organization: str) -> bool:
        with self._lock:
            if not self._awaited[organization]:
                self._listening.discard(organization)
                del self._awaited[organization]
                return False
            return True

    def _wake_first(self, organization: str) -> None:
        with self._lock:
            for line, visits in self._lines.items():
                if line[0] == organization:
                    visits[0].wake()


class Visit:
    """One call, from before it first tries until it is decided on. Leaving the context takes it out of its line."""

    def __init__(
        self, room: WaitingRoom, organization: str, request_id: str, *, size_bytes: int, patience_ms: int | None
    ) -> None:
        self.organization = organization
        self.request_id = request_id
        self.size_bytes = size_bytes
        self.patience_ms = patience_ms
        # Its place in Redis, once it has one, and the line of this node in which it stands.
        self.place: int | None = None
        self.line: _Line | None = None
        # Redis has taken it out of its lines itself.
        self.is_decided = False
        self._room = room
        self._began_s = time.monotonic()
        self._longest_s = None if patience_ms is None else patience_ms / 1000
        self._woken = threading.Event()

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._room.leave(self)

    @property
    def may_wait(self) -> bool:
        """Whether it would wait (on), were it told to."""
        return self._longest_s is None or self._waited_s() < self._longest_s

    @property
    def queued_ms(self) -> int | None:
        """How long it has waited; None where it has not had to."""
        return None if self.place is None else int(self._waited_s() * 1000)

    def wait(self, waiting: Waiting) -> bool:
        """Wait for its turn to try again, or for the second in which it has to; not at all where it finds no room.
        Says whether it was its turn."""
        check = waiting.check
        self.place = waiting.place
        if not self._room.place(self, (self.organization, check.id, check.subject, check.tier)):
            self._longest_s = 0.0
            return False
        wait_s = min(_ASK_EVERY_S, max(_SHORTEST_WAIT_S, waiting.retry_ms / 1000))
        if self._longest_s is not None:
            wait_s = max(0.0, min(wait_s, self._longest_s - self._waited_s()))
        is_its_turn = self._woken.wait(wait_s)
        self._woken.clear()
        return is_its_turn

    def wake(self) -> None:
        """Let it try now."""
        self._woken.set()

    def _waited_s(self) -> float:
        return time.monotonic() - self._began_s
