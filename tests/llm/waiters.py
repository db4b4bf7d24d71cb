"""Calls that wait, each in a thread of its own, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, cast

from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle
from kong_plugins.llm.release import Limit, Scope
from tests.llm.gateway import Gateway, body, completion, finished
from tests.servers import eventually

Outcome = Grant | BursarError
# One call of a team at a time; the others stand in line.
SLOT: Final = Limit(
    id="slots",
    scope=Scope(kind="team", subject=None),
    unit="concurrency",
    amount=1,
    window_ms=60_000,
    queue_ms=60_000,
)


class Waiters:
    """Calls of one gateway's callers, in the order in which they began to wait."""

    def __init__(self, gateway: Gateway, threads: ThreadPoolExecutor) -> None:
        self._gateway = gateway
        self._threads = threads
        self.all: list[Future[Outcome]] = []

    def begin(
        self, *, key: str | None = None, beat: Callable[[], None] = lambda: None, headers: Any = None, **members: Any
    ) -> Future[Outcome]:
        """Make a call that has to wait, and go on when it does."""
        room = self._gateway.admission.room
        before = len(room)
        caller = self._gateway.caller(**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {}))

        def call() -> Outcome:
            try:
                return self._gateway.admission.admit(caller, body(**members), "openai_chat", beat=beat)
            except BursarError as error:
                return error

        waiter = self._threads.submit(call)
        self.all.append(waiter)
        eventually(lambda: len(room) > before or waiter.done(), "it waits")
        assert not waiter.done(), waiter.result()
        return waiter


@contextmanager
def waiters_of(gateway: Gateway) -> Iterator[Waiters]:
    """Nobody waits any more when the context is left."""
    with ThreadPoolExecutor(16) as threads:
        waiters = Waiters(gateway, threads)
        try:
            yield waiters
        finally:
            gateway.publish()
            for waiter in waiters.all:
                waiter.exception(timeout=30)


def grant_of(waiter: Future[Outcome]) -> Grant:
    """The grant of a call that has waited."""
    outcome = waiter.result(timeout=30)
    assert isinstance(outcome, Grant), outcome
    return outcome


def refusal_of(waiter: Future[Outcome]) -> BursarError:
    outcome = waiter.result(timeout=30)
    assert isinstance(outcome, BursarError), outcome
    return outcome


def end(gateway: Gateway, grant: Grant) -> None:
    """The provider has answered the call."""
    settle(cast(Any, gateway.store), finished(grant, completion()))
