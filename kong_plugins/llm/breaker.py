"""What keeps a Redis that does not answer from costing every request its time-outs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from kong_plugins.llm.errors import StoreNotAsked

logger = logging.getLogger(__name__)

_PAUSE_S: Final = 1.0


class Breaker:
    """Asked before each call to Redis, and told how it ended. Once a call was not answered, calls fail at once, until
    one of them finds out that Redis answers again; it looks with a `ping`, at once and then once a second.

    Only a ping keeps it open: a call that alone takes too long keeps no other away. And it is open for a time only, so
    that even a ping that never returns ends nothing for good; `longest_ping_s` is what one may take.
    """

    def __init__(
        self, ping: Callable[[], bool], *, longest_ping_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ping = ping
        self._longest_ping_s = longest_ping_s
        self._now_s = now_s
        self._lock = threading.Lock()
        # While it is open: when the next look is due.
        self._look_at_s: float | None = None

    def check(self) -> None:
        """Let a call pass.

        Raises:
            StoreNotAsked: Redis does not answer.
        """
        if self._look_at_s is None:
            return
        if not self._may_look() or not self._finds_it_back():
            raise StoreNotAsked("Redis has just not answered others")

    def failed(self) -> None:
        """A call was not answered."""
        with self._lock:
            if self._look_at_s is None:
                self._look_at_s = self._now_s()
                logger.warning("Redis does not answer")

    def answered(self) -> None:
        """A call was answered."""
        if self._look_at_s is not None:
            self._look_at_s = None
            logger.warning("Redis answers again")

    def _may_look(self) -> bool:
        """Whether it is this call's turn to look; nobody else looks meanwhile."""
        with self._lock:
            now_s = self._now_s()
            if self._look_at_s is not None and now_s < self._look_at_s:
                return False
            self._look_at_s = now_s + self._longest_ping_s
            return True

    def _finds_it_back(self) -> bool:
        if self._ping():
            self.answered()
            return True
        with self._lock:
            if self._look_at_s is not None:
                self._look_at_s = self._now_s() + _PAUSE_S
        return False
