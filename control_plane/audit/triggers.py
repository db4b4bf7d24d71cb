"""The triggers that record changes: written anew after each migration for the tables that there are by then."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from django.apps import apps
from django.db import connections, transaction

from control_plane.audit.governed import BOOKKEEPING, GOVERNED

_SQL: Final = files("control_plane.audit") / "sql"
_PREFIX: Final = "audit_record_"
_INSTALLED: Final = """
SELECT p.proname, obj_description(p.oid, 'pg_proc'), count(t.oid)
FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid
WHERE p.proname LIKE 'audit\\_%' AND p.pronamespace = current_schema()::regnamespace
GROUP BY p.oid, p.proname
"""
_TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relnamespace = current_schema()::regnamespace"
)
_TRIGGERS: Final = 3


def install_triggers(*, using: str, **_: Any) -> None:
    """Bring the triggers into step with `GOVERNED` and with the tables that exist; usually there is nothing to do.

    Listens to `post_migrate`. Where the log's own table is not there, there is nothing to write to.
    """
    wanted = dict(_definitions())
    tables = [function.removeprefix(_PREFIX) for function in wanted if function.startswith(_PREFIX)]
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute(_TABLES, [["audit_auditentry", *tables]])
        existing = {name for (name,) in cursor.fetchall()}
        if "audit_auditentry" not in existing:
            return
        cursor.execute(_INSTALLED)
        installed = {name: (digest, triggers) for name, digest, triggers in cursor.fetchall()}
        for function, definition in wanted.items():
            table = function.removeprefix(_PREFIX)
            digest = hashlib.sha256(definition.encode()).hexdigest()
            complete = _TRIGGERS if table != function else 0
            if (table == function or table in existing) and installed.get(function) != (digest, complete):
                cursor.execute(definition)
                cursor.execute(f"COMMENT ON FUNCTION {function} IS '{digest}'")
        for stale in installed.keys() - wanted.keys():
            if stale.startswith(_PREFIX):
                cursor.execute(f"DROP FUNCTION {stale} CASCADE")


@lru_cache(maxsize=1)
def governed_tables() -> frozenset[str]:
    """The tables whose changes are recorded."""
    return frozenset(apps.get_model(label)._meta.db_table for label in GOVERNED)


def _definitions() -> Iterator[tuple[str, str]]:
    """Each function's name and the SQL that makes it and its triggers."""
    yield "audit_write", (_SQL / "write.sql").read_text()
    template = (_SQL / "record.sql").read_text()
    for label, governed in GOVERNED.items():
        options = apps.get_model(label)._meta
        primary_key = options.pk
        assert primary_key is not None
        function = f"{_PREFIX}{options.db_table}"
        yield (
            function,
            template.format(
                function=function,
                table=options.db_table,
                primary_key=primary_key.column,
                kind=governed.kind,
                scope=governed.scope,
                unrecorded=_array(BOOKKEEPING | governed.unrecorded),
                secrets=_array(governed.secrets),
            ),
        )


def _array(names: frozenset[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
