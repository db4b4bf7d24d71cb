"""Who is acting: told to the database in each transaction that changes what is recorded.

A middleware, the tasks and manage.py say who acts; a wrapper around the statements of each connection passes it on, as
the setting `bursar.audit`, which lasts until the end of the transaction. Code that changes rows need not know of it.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

from django.db import transaction

from control_plane.audit.triggers import governed_tables

_WRITE: Final = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|WITH)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Acting:
    """What an entry says of whom it came from; `address` is where from, `token` the API token's name."""

    actor: str
    way: str
    actor_id: str = ""
    token: str = ""
    address: str = ""
    request_id: str = ""
    reason: str = ""


_acting: Final[ContextVar[Callable[[], Acting] | None]] = ContextVar("acting", default=None)


@lru_cache(maxsize=1)
def host_name() -> str:
    """Where commands and tasks act from."""
    return socket.gethostname()


@contextmanager
def acting_as(source: Callable[[], Acting]) -> Iterator[None]:
    """Within the block, changes are of whom `source` names; it is asked at each change, since a request learns only
    on its way who makes it."""
    token = _acting.set(source)
    try:
        yield
    finally:
        _acting.reset(token)


def pass_on(connection: Any, **_: Any) -> None:
    """Have the connection tell the database who acts. Listens to `connection_created`."""
    if _tell not in connection.execute_wrappers:
        connection.execute_wrappers.append(_tell)


def _tell(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Run a statement; one that changes a recorded table, after telling who acts, in the same transaction.

    It is told before every such statement, because a savepoint that was rolled back has forgotten it. Where nobody is
    acting, what an earlier part of the transaction has told is withdrawn.
    """
    if not isinstance(sql, str) or not _WRITE.match(sql) or not _governed_pattern().search(sql):
        return execute(sql, params, many, context)
    connection = context["connection"]
    source = _acting.get()
    told = json.dumps(asdict(source())) if source else ""
    with ExitStack() as stack:
        if not connection.in_atomic_block:
            stack.enter_context(transaction.atomic(using=connection.alias))
        if not connection.needs_rollback:
            # Past Django's own cursor: it is no query of whoever counts theirs.
            with connection.connection.cursor() as cursor:
                cursor.execute("SELECT set_config('bursar.audit', %s, true)", [told])
        return execute(sql, params, many, context)


@lru_cache(maxsize=1)
def _governed_pattern() -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(sorted(governed_tables())) + r")\b")
