"""How an event becomes a row of the ledger, and how rows add up to the sums of local hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from django.db import models

from control_plane.ledger.models import DIMENSIONS, UsageEvent
from kong_plugins.llm import events

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_COLUMNS: Final = tuple(column.name for column in UsageEvent._meta.fields if isinstance(column, models.TextField))
_HOUR_KEY: Final = ("organization", "hour", *DIMENSIONS)
_SUMMED_TOKENS: Final = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
_SUMMED: Final = ("requests", "unpriced", "amount_nusd", *_SUMMED_TOKENS)
# Callers choose these, and an entry of the unique index over a sum's key has room for 2,700 bytes, of which the tags of
# a key can take 1,100.
_CALLERS_LABELS: Final = ("user", "request_model")
_LONGEST_LABEL: Final = 200
_LONGEST_LABEL_BYTES: Final = 600
# The outcome of a correction that prices a call which had no price.
REPRICED: Final = "repriced"
# The outcomes of calls that got no whole answer, though their client has waited for it.
FAILURES: Final = ("provider_error", "not_sent", "unanswered", "interrupted", "deadline", "lease_expired")

Row = dict[str, Any]


def event_row(event: events.UsageEvent) -> Row:
    """The event as the columns of `ledger_usageevent`.

    Raises:
        OverflowError: an instant lies outside the calendar.
    """
    row: Row = {name: _storable(value) for name, value in msgspec.structs.asdict(event).items()}
    row["event_id"] = row.pop("id")
    del row["uncounted"]  # it is about Redis' counters, not about what happened
    del row["key_generation"]  # kept with the key, of which it says which secret is still in use
    row["reserved_at"] = instant_of(row.pop("reserved_at_ms"))
    row["posted_at"] = instant_of(row.pop("posted_at_ms"))
    for name in _TEXT_COLUMNS:
        row[name] = row[name] or ""
    for name in _CALLERS_LABELS:
        row[name] = row[name][:_LONGEST_LABEL].encode()[:_LONGEST_LABEL_BYTES].decode(errors="ignore")
    return row


def hour_rows(rows: Iterable[Row], zone: ZoneInfo) -> list[Row]:
    """The sums of these events as rows of `ledger_hourrollup`."""
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        hour = hour_start(row["reserved_at"], zone)
        key = (row["organization"], hour, *(_dimension(row, name) for name in DIMENSIONS))
        if key not in sums:
            day = row["reserved_at"].astimezone(zone).date()
            sums[key] = {"day": day, **dict(zip(_HOUR_KEY, key, strict=True)), **dict.fromkeys(_SUMMED, 0)}
        _add(sums[key], row)
    return list(sums.values())


def instant_of(at_ms: int) -> datetime:
    """Unix milliseconds as an instant, exactly."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def hour_start(at: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of the local hour that holds `at`."""
    return at.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)


def _dimension(row: Row, name: str) -> Any:
    return tuple(sorted(set(row["tags"]))) if name == "tags" else row[name]


def _add(total: Row, row: Row) -> None:
    total["requests"] += row["kind"] != "adjusted"
    total["unpriced"] += (row["amount_nusd"] is None) - (row["outcome"] == REPRICED)
    total["amount_nusd"] += row["amount_nusd"] or 0
    for name in _SUMMED_TOKENS:
        total[name] += row[name]


def _storable(value: object) -> object:
    """Postgres has no NUL in its text."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, tuple):
        return [_storable(item) for item in value]
    return value
