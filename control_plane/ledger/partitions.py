"""The months of the ledger. Retention drops whole months; nothing else ever removes a row."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db import IntegrityError, connection, transaction

logger = logging.getLogger(__name__)

# An event far from now has a broken clock behind it; it goes to the default partition.
_OLDEST: Final = timedelta(days=400)
_NEWEST: Final = timedelta(days=40)
_LOCK: Final = 1_114_796_642

_known_months: set[date] = set()


def ensure_months(instants: Iterable[datetime]) -> None:
    """Create the partitions in which these instants belong; not within a longer transaction, as it locks the table."""
    now = datetime.now(UTC)
    months = {at.astimezone(UTC).date().replace(day=1) for at in instants if now - _OLDEST < at < now + _NEWEST}
    for month in sorted(months - _known_months):
        try:
            _create(month)
        except IntegrityError:
            logger.warning("rows of %s lie in the ledger's default partition; the month stays there", month)
        _known_months.add(month)


def _create(month: date) -> None:
    following = (month + timedelta(days=31)).replace(day=1)
    with transaction.atomic(), connection.cursor() as cursor:
        # Of two processes that meet a new month at once, the second waits and finds the table made.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS ledger_usageevent_{month:%Y_%m} PARTITION OF ledger_usageevent"
            f" FOR VALUES FROM ('{month} 00:00:00+00') TO ('{following} 00:00:00+00')"
        )
