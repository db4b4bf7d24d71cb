"""The live state in Redis: this process's one connection to it, and how a change of rows finds its way there.

Services write rows, then call `announce_change`. Once the rows are committed, in the same request, the
releases app publishes what is behind.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db.models import F, QuerySet
from django.dispatch import Signal

from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

VERSION_LEAP: Final = 1_000

# Sent inside the transaction that changes rows, with `organization_id` and `actor`.
organization_changed: Final = Signal()


@lru_cache(maxsize=1)
def live_state() -> Store:
    """The store that gateways decide from; its calls raise `StoreUnavailable`."""
    return Store.from_url(settings.REDIS_URL, timeout_ms=settings.REDIS_TIMEOUT_MS)


def announce_change(organization_id: int, *, actor: str) -> None:
    """Say that rows of an organization have changed which gateways must know of; `actor` is who changed them."""
    organization_changed.send(sender=None, organization_id=organization_id, actor=actor)


def leap_ahead(behind: QuerySet[Any]) -> bool:
    """Give rows whose version Redis has refused as too old one far above; return whether there were any.

    There are none where a concurrent change has published a newer version. There is one where Redis knows more than
    the database, which is after the database was restored from a backup: what the database says then wins.
    """
    found = behind.update(version=F("version") + VERSION_LEAP) > 0
    if found:
        logger.error("Redis has a newer version than the database of %s; publishing anew", behind.model.__name__)
    return found
