"""What the ledger's rows add up to: hours by a statement of the bench's own, days by the product's, and a proof."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from django.db import connection

from bench.large.organization import SLUG
from control_plane.ledger.days import add_up_day

_GROUP: Final = 'team, key, "user", request_model, provider, kind, outcome, tags'
# What the ingest adds up of each batch, of all rows at once. Their tags are in order and each once.
_HOURS: Final = f"""
INSERT INTO ledger_hourrollup (
    organization, day, hour, {_GROUP}, is_in_day, requests, unpriced,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd
)
SELECT
    organization, (hour AT TIME ZONE %(zone)s)::date, hour, {_GROUP}, true, count(*),
    count(*) FILTER (WHERE amount_nusd IS NULL), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(output_tokens), coalesce(sum(amount_nusd), 0)
FROM (
    SELECT *, date_trunc('hour', reserved_at, %(zone)s) AS hour FROM ledger_usageevent WHERE organization = %(slug)s
) AS event
GROUP BY organization, hour, {_GROUP}
ORDER BY hour
"""
_KEY_USES: Final = """
INSERT INTO keys_keyuse (key_id, generation, last_used_at, protocol)
SELECT key, 1, max(reserved_at), 'openai_chat' FROM ledger_usageevent WHERE organization = %s GROUP BY key
"""
_SUMS: Final = """
SELECT coalesce(sum(amount_nusd), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint,
    coalesce(sum(output_tokens), 0)::bigint
FROM {table} WHERE organization = %s AND {condition}
"""
# Each table that has every call once, and which of its rows do.
_TABLES: Final = {
    "ledger_hourrollup": "true",
    "ledger_dayrollup": "true",
    "ledger_teamday": "true",
    "ledger_modelday": "true",
    "ledger_pairday": "pair = 'user,provider'",
    "ledger_dimensionhour": "dimension = 'provider'",
}


class SumsDifferError(Exception):
    """A table of sums does not say what the ledger's rows add up to."""


def add_up_hours(zone: str) -> None:
    """Fill the sums of hours, and when each key was last used."""
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '512MB'")
        cursor.execute(_HOURS, {"zone": zone, "slug": SLUG})
        cursor.execute(_KEY_USES, [SLUG])
        cursor.execute("RESET work_mem")


def add_up_days(told: Callable[[int], Any]) -> None:
    """Fill the sums of days, as the worker does; `told` hears of each day."""
    for day in days():
        add_up_day(SLUG, day)
        told(1)


def days() -> list[date]:
    """The days that have calls."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT day FROM ledger_hourrollup WHERE organization = %s ORDER BY day", [SLUG])
        return [day for (day,) in cursor.fetchall()]


def check_sums() -> None:
    """See that every table of sums adds up to what the ledger's rows add up to.

    Raises:
        SumsDifferError: naming the first that does not.
    """
    expected = _sums("ledger_usageevent")
    for table, condition in _TABLES.items():
        if (found := _sums(table, condition)) != expected:
            raise SumsDifferError(f"{table} adds up to {found}, the ledger to {expected}")


def _sums(table: str, condition: str = "true") -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(table=table, condition=condition), [SLUG])
        found: tuple[Any, ...] = cursor.fetchone()
        return found
