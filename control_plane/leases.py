"""Leases of periodic work, so that two beats or two workers never do the same work at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from django.db import connection

# The first of the two numbers of our advisory locks, which keeps them apart from other users of the database.
_NAMESPACE = 1_114_796_641


@contextmanager
def lease(name: str) -> Iterator[bool]:
    """Whether this process may do the work called `name` now; nobody else may until the block ends.

    A session-level advisory lock of Postgres: it also ends when the connection does, so a killed worker leaves none.
    """
    number = crc32(name.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_NAMESPACE, number])
        taken = cursor.fetchone() == (True,)
        try:
            yield taken
        finally:
            if taken:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_NAMESPACE, number])
