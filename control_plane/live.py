"""The one connection of this process to the live state in Redis."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from kong_plugins.llm.store import Store


@lru_cache(maxsize=1)
def live_state() -> Store:
    """The store that gateways decide from; its calls raise `StoreUnavailable`."""
    return Store.from_url(settings.REDIS_URL, timeout_ms=settings.REDIS_TIMEOUT_MS)
