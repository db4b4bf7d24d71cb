"""What is read of the ledger: who has spent how much, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, Sum

from control_plane.ledger.models import TeamDay
from control_plane.ledger.spend import GroupBy, Question, spent, with_key_names

# Leaves out of some rows what somebody may not see.
Seen = Callable[[QuerySet[Any]], QuerySet[Any]]
# What can befall a call on its way to a provider, and the words for it.
REMARKED: Final = {
    "degraded": ~Q(degraded_from=""),
    "shadow_refused": ~Q(shadow_refusals=[]),
    "queued": Q(queued_ms__gt=0),
}
_SHOWN: Final = ("amount_nusd", "requests", "unpriced", "input_tokens", "output_tokens")
REMARKS: Final = {
    "degraded": "Went to another model",
    "shadow_refused": "A shadow would have refused it",
    "queued": "Waited in a line",
}


def everything(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leaves nothing out."""
    return rows


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
    seen: Seen = everything,
    sees_all: bool = False,
    named: int | None = None,
) -> list[Spend]:
    """What calls admitted from `start` until before `end` have used, the dearest first; `narrowed` are look-ups of
    columns in which they have to agree. Where `seen` leaves nothing out, `sees_all` is faster; with `named`, only so
    many of the dearest keys have their names."""
    question = Question(
        organization=organization,
        zone=zone,
        group_by=(group_by,),
        start=start,
        end=end,
        narrowed=narrowed or {},
        seen=seen,
        sees_all=seen is everything or sees_all,
    )
    dearest = sorted(spent(question), key=lambda row: (-row["amount_nusd"], row[group_by]))
    if group_by == "key":
        dearest = [*with_key_names(iter(dearest[:named])), *(dearest[named:] if named is not None else ())]
    return [
        Spend(subject=row[group_by], name=row.get("name"), **{name: row[name] for name in _SHOWN}) for row in dearest
    ]


def spend_by_day(organization: str, *, start: date, end: date, seen: Seen = everything) -> dict[date, int]:
    """The nano-USD of each local day with charges, from `start` until before `end`, as far as days are aggregated."""
    days = seen(TeamDay.objects.all()).filter(organization=organization, day__gte=start, day__lt=end)
    return dict(days.values_list("day").annotate(Sum("amount_nusd")).order_by("day"))
