"""How the calls of an organization have fared hour by hour, and which of them failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from control_plane.ledger.rows import FAILURES
from control_plane.ledger.statements import statement

# More calls than these tell no more of how long an answer takes.
_LATENCIES: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Hour:
    """The calls of one hour by how they ended."""

    answered: int
    failed: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long calls took from their arrival at the gateway to the end of their answer."""

    calls: int
    median_ms: int
    p95_ms: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How often calls of a model at a provider ended so."""

    provider: str
    model: str
    outcome: str
    calls: int


def traffic_by_hour(rows: QuerySet[Any], organization: str, *, start: datetime) -> dict[datetime, Hour]:
    """The hours since `start` that had calls, of rows of `HourRollup`."""
    failed = Q(outcome__in=FAILURES)
    found = rows.filter(organization=organization, hour__gte=start).exclude(kind="adjusted").values("hour")
    sums = found.annotate(
        answered=Sum("requests", filter=~failed & ~Q(kind="refused"), default=0),
        failed=Sum("requests", filter=failed, default=0),
        refused=Sum("requests", filter=Q(kind="refused"), default=0),
    )
    return {row.pop("hour"): Hour(**row) for row in sums.order_by("hour")}


def failures(rows: QuerySet[Any], organization: str, *, start: datetime) -> list[Failure]:
    """The failures since `start`, of rows of `HourRollup`, the most frequent first."""
    found = rows.filter(organization=organization, hour__gte=start, outcome__in=FAILURES)
    sums = found.values_list("provider", "request_model", "outcome").annotate(calls=Sum("requests"))
    return [
        Failure(provider=provider, model=model, outcome=outcome, calls=calls)
        for provider, model, outcome, calls in sums.order_by("-calls", "provider", "request_model", "outcome")
    ]


def latency_by_hour(organization: str, *, start: datetime) -> dict[datetime, Latency]:
    """The hours since `start` that had answers, as far back as the newest of them reach."""
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {"organization": organization, "start": start, "most": _LATENCIES}
        cursor.execute(statement("latency_of_hours"), asked)
        return {
            hour: Latency(calls=calls, median_ms=median, p95_ms=p95) for hour, calls, median, p95 in cursor.fetchall()
        }
