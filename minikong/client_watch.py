"""Ends what is done for a client as soon as it has gone, as nginx does once a request goes upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

Receive = Callable[[], Awaitable[Any]]


class ClientWatch:
    """A context that is left early, without an exception, when the client closes its connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.client_is_gone = False

    async def __aenter__(self) -> ClientWatch:
        task = asyncio.current_task()
        assert task is not None
        self._watcher = asyncio.create_task(self._watch(task))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.stop()
        task = asyncio.current_task()
        if not (self.client_is_gone and task):
            return False
        return not task.uncancel() and kind is asyncio.CancelledError

    def stop(self) -> None:
        """Watch no longer."""
        if self._watcher:
            self._watcher.cancel()

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_is_gone = True
        task.cancel()
