"""The live state in Redis: this process's one connection to it, and how a change of rows finds its way there.

Services write rows, then call `announce_change`. Once the rows are committed, in the same request, the
releases app publishes what is behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet
from django.dispatch import Signal

from kong_plugins.llm.store import Store

logger = logging.getLogger(__name__)

Row = TypeVar("Row")

VERSION_LEAP: Final = 1_000
_BATCH: Final = 500

# Sent inside the transaction that changes rows, with `organization_id` and `actor`.
organization_changed: Final = Signal()


@lru_cache(maxsize=1)
def live_state() -> Store:
    """The store that gateways decide from; its calls raise `StoreUnavailable`."""
    return Store.from_url(settings.REDIS_URL, timeout_ms=settings.REDIS_TIMEOUT_MS)


def announce_change(organization_id: int, *, actor: str) -> None:
    """Say that rows of an organization have changed which gateways must know of; `actor` is who changed them."""
    organization_changed.send(sender=None, organization_id=organization_id, actor=actor)


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in parts, each small enough for one trip to Redis."""
    remaining = iter(rows)
    while part := list(islice(remaining, _BATCH)):
        yield part


def note_published(rows: QuerySet[Any], versions: Mapping[Any, int]) -> None:
    """Write down, by primary key, which versions Redis has taken of some of the rows, in one statement. A row that has
    become newer meanwhile stays behind.
    """
    table, key = rows.model._meta.db_table, rows.model._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} AS behind SET published_version = taken.version "
            f"FROM unnest(%s::{key.db_type(connection)}[], %s::int[]) AS taken (key, version) "
            f"WHERE behind.{key.column} = taken.key AND behind.published_version < taken.version",
            [list(versions), list(versions.values())],
        )


def leap_ahead(behind: QuerySet[Any]) -> bool:
    """Give rows whose version Redis has refused as too old one far above; return whether there were any.

    There are none where a concurrent change has published a newer version. There is one where Redis knows more than
    the database, which is after the database was restored from a backup: what the database says then wins.
    """
    found = behind.update(version=F("version") + VERSION_LEAP) > 0
    if found:
        logger.error("Redis has a newer version than the database of %s; publishing anew", behind.model.__name__)
    return found
