"""A Redis that goes away and comes back, and one that forgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import redis
from pytest_django import Settings

from control_plane.live import live_state
from stack.ports import free_ports


@pytest.fixture
def redis_away(settings: Settings) -> Callable[[], AbstractContextManager[None]]:
    """Within the block nothing answers at the address of Redis."""

    @contextmanager
    def away() -> Iterator[None]:
        address = settings.REDIS_URL
        settings.REDIS_URL = f"redis://127.0.0.1:{free_ports().redis}/0"
        live_state.cache_clear()
        try:
            yield
        finally:
            live_state().close()
            settings.REDIS_URL = address
            live_state.cache_clear()

    return away


@pytest.fixture
def forget_everything(redis_address: str) -> Callable[[], None]:
    """Redis loses all that this worker's tests have put there."""

    def forget() -> None:
        with redis.Redis.from_url(redis_address) as client:
            client.flushdb()

    return forget
