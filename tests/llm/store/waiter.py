"""A call that waits as its gateway has it wait: it asks until it knows."""

from __future__ import annotations

from typing import Any, Final

from kong_plugins.llm.limits import Granted, Waiting
from tests.llm.cast import principal
from tests.llm.store.engine import Engine, budget, limit

QUEUE_MS: Final = 30_000
SLOTS: Final = limit("concurrency", 1, queue_ms=QUEUE_MS)
MONEY: Final = budget(queue_ms=QUEUE_MS)


class Waiter:
    """A call that asks until it knows."""

    def __init__(self, engine: Engine, name: str, *, tier: str = "normal", **call: Any) -> None:
        self._engine = engine
        self.request_id = name
        self._call = call | {"principal": principal(organization=engine.organization, tier=tier)}
        self._began_ms = engine.now_ms
        self.answer: Any = None
        self.ask()

    def ask(self) -> Any:
        way: dict[str, Any] = {"may_wait": True}
        if isinstance(self.answer, Waiting):
            way |= {"place": self.answer.place, "waited_ms": max(0, self._engine.now_ms - self._began_ms)}
        self.answer = self._engine.reserve(**self._call, request_id=self.request_id, **way)
        return self.answer

    @property
    def waits(self) -> bool:
        return isinstance(self.ask(), Waiting)


def admitted(*waiters: Waiter) -> list[str]:
    """Who is admitted when all of them ask, in this order."""
    return [waiter.request_id for waiter in waiters if isinstance(waiter.ask(), Granted)]
