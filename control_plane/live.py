"""The live state in Redis: this process's one connection to it, and how a change of rows finds its way there.

Services write rows, then call `announce_change`. Once the rows are committed, in the same request, the
releases app publishes what is behind.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from django.conf import settings
from django.dispatch import Signal

from kong_plugins.llm.store import Store

# Sent inside the transaction that changes rows, with `organization_id` and `actor`.
organization_changed: Final = Signal()


@lru_cache(maxsize=1)
def live_state() -> Store:
    """The store that gateways decide from; its calls raise `StoreUnavailable`."""
    return Store.from_url(settings.REDIS_URL, timeout_ms=settings.REDIS_TIMEOUT_MS)


def announce_change(organization_id: int, *, actor: str) -> None:
    """Say that rows of an organization have changed which gateways must know of; `actor` is who changed them."""
    organization_changed.send(sender=None, organization_id=organization_id, actor=actor)
