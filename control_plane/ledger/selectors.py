"""What is read of the ledger: who has spent how much, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from django.db.models import Count, Q, QuerySet, Sum

from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import DayRollup, HourRollup, UsageEvent
from control_plane.ledger.rows import REPRICED, hour_start

GroupBy = Literal["team", "key", "user", "model"]

# The column that each grouping goes by.
GROUP_COLUMNS: Final[dict[GroupBy, str]] = {"team": "team", "key": "key", "user": "user", "model": "request_model"}
# Calls that a provider charges for; a refused call never reached one, a voided call was not billed.
_CALLS: Final = Q(kind__in=("posted", "expired"))
# What can befall a call on its way to a provider, and the words for it.
REMARKED: Final = {
    "degraded": ~Q(degraded_from=""),
    "shadow_refused": ~Q(shadow_refusals=[]),
    "queued": Q(queued_ms__gt=0),
}
REMARKS: Final = {
    "degraded": "Went to another model",
    "shadow_refused": "A shadow would have refused it",
    "queued": "Waited in a line",
}
_CHARGES: Final = _CALLS | Q(kind="adjusted")


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What one team, key, user or model has used; `name` is a key's name, while the key exists.

    A correction adds money and tokens but no request. `unpriced` counts amounts that are unknown and in no sum.
    """

    subject: str
    amount_nusd: int
    requests: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    name: str | None = None


def spend_by(
    organization: str,
    group_by: GroupBy,
    *,
    start: datetime | None,
    end: datetime | None,
    zone: ZoneInfo,
    narrowed: Mapping[str, Any] | None = None,
) -> list[Spend]:
    """What calls admitted from `start` until before `end` have used, the dearest first; `narrowed` are look-ups of
    columns in which they have to agree."""
    charges = _charges(organization, start, end, zone, narrowed or {})
    column = GROUP_COLUMNS[group_by]
    rows = list(charges.values(column).annotate(**_sums(charges)))
    names = _key_names([row[column] for row in rows]) if group_by == "key" else {}
    found = [
        Spend(
            subject=row[column],
            name=names.get(row[column]),
            **{name.removeprefix("sum_"): value for name, value in row.items() if name != column},
        )
        for row in rows
    ]
    return sorted(found, key=lambda spend: (-spend.amount_nusd, spend.subject))


def spend_by_day(organization: str, *, start: date, end: date) -> dict[date, int]:
    """The nano-USD of each local day with charges, from `start` until before `end`, as far as days are aggregated."""
    days = DayRollup.objects.filter(_CHARGES, organization=organization, day__gte=start, day__lt=end)
    return dict(days.values_list("day").annotate(Sum("amount_nusd")).order_by("day"))


def _charges(
    organization: str, start: datetime | None, end: datetime | None, zone: ZoneInfo, narrowed: Mapping[str, Any]
) -> QuerySet[Any]:
    """The sums of hours, or the events themselves where a bound cuts an hour in two, or which tags are meant."""
    whole_hours = all(bound is None or hour_start(bound, zone) == bound for bound in (start, end))
    summed = whole_hours and not any(look_up.startswith("tags") for look_up in narrowed)
    charges: QuerySet[Any] = (HourRollup if summed else UsageEvent).objects.filter(
        _CHARGES, organization=organization, **narrowed
    )
    column = "hour" if summed else "reserved_at"
    if start is not None:
        charges = charges.filter(**{f"{column}__gte": start})
    if end is not None:
        charges = charges.filter(**{f"{column}__lt": end})
    return charges


def _sums(charges: QuerySet[Any]) -> dict[str, Any]:
    counted: dict[str, Any] = {
        "sum_requests": Sum("requests", default=0, filter=_CALLS),
        "sum_unpriced": Sum("unpriced", default=0),
    }
    if charges.model is UsageEvent:
        counted = {
            "sum_requests": Count("id", filter=_CALLS),
            "sum_unpriced": Count("id", filter=Q(amount_nusd=None)) - Count("id", filter=Q(outcome=REPRICED)),
        }
    summed = ("amount_nusd", "input_tokens", "output_tokens")
    return counted | {f"sum_{name}": Sum(name, default=0) for name in summed}


def _key_names(key_ids: list[str]) -> dict[str, str]:
    return dict(VirtualKey.objects.filter(pk__in=key_ids).values_list("id", "name"))
