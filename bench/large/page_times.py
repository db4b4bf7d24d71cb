"""Opens pages again and again, and tells how long each takes and how often it asks the database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.test import Client

from bench.large.page_list import Page


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What became of opening a page once; of an answer that streams, only the first part was awaited."""

    status: int
    first_ms: float
    queries: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A page as somebody opened it some times."""

    page: Page
    person: str
    opened: tuple[Opened, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(each.first_ms for each in self.opened)

    @property
    def queries(self) -> int:
        return max(each.queries for each in self.opened)

    @property
    def status(self) -> int:
        return self.opened[-1].status

    def as_row(self) -> dict[str, Any]:
        slowest = sorted(each.first_ms for each in self.opened)
        return {
            "page": self.page.name,
            "person": self.person,
            "status": self.status,
            "median_ms": round(self.median_ms),
            "p95_ms": round(slowest[(len(slowest) * 95 - 1) // 100]),
            "queries": self.queries,
        }


def measured(client: Client, page: Page, person: str, repeats: int) -> Measured:
    """Open a page once for the caches, and then as often as it is measured."""
    first = open_once(client, page)
    if first.status in (301, 302, 403, 404, 405):
        return Measured(page=page, person=person, opened=(first,))
    return Measured(page=page, person=person, opened=tuple(open_once(client, page) for _ in range(repeats)))


def open_once(client: Client, page: Page) -> Opened:
    """Open a page; whatever it may write is taken back."""
    with counted_queries() as queries, transaction.atomic():
        began_s = time.perf_counter()
        response: Any = client.get(page.path, headers={"accept": "*/*"})
        if response.streaming:
            next(iter(response.streaming_content), None)
        first_ms = (time.perf_counter() - began_s) * 1000
        response.close()
        transaction.set_rollback(True)
    return Opened(status=response.status_code, first_ms=first_ms, queries=queries())


@contextmanager
def counted_queries() -> Iterator[Callable[[], int]]:
    """Counts what the block asks the database; the number is what is yielded, called."""
    number = 0

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal number
        number += not sql.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT"))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield lambda: number
