"""Sums of what was spent, by any of what the ledger knows of a call, from the narrowest table that can tell.

Whole days come from the sums of days, but for days into which not every hour is taken yet; whole hours from those of
hours; and only where a bound cuts an hour in two, the events themselves are added up.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Case, CharField, Count, F, Func, Q, QuerySet, Sum, TextField, Value, When
from django.db.models.functions import Collate, TruncDate

from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import DayRollup, DimensionHour, HourRollup, ModelDay, PairDay, TeamDay, UsageEvent
from control_plane.ledger.periods import day_start
from control_plane.ledger.rows import REPRICED, hour_start

GroupBy = Literal["team", "key", "user", "model", "provider", "tag", "day", "hour"]
Row = dict[str, Any]

# The column that each grouping of text goes by; a tag is one of several in its column.
GROUP_COLUMNS: Final[dict[GroupBy, str]] = {
    "team": "team",
    "key": "key",
    "user": "user",
    "model": "request_model",
    "provider": "provider",
    "tag": "tags",
}
GROUPS: Final[tuple[GroupBy, ...]] = (*GROUP_COLUMNS, "day", "hour")
# Calls that a provider charges for; a refused call never reached one, a voided call was not billed.
CALLS: Final = Q(kind__in=("posted", "expired"))
CHARGES: Final = CALLS | Q(kind="adjusted")
_TOKENS: Final = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
SUMS: Final = ("amount_nusd", "requests", "unpriced", *_TOKENS)
_ROWS_AT_ONCE: Final = 2_000
# Their sums are those of charges alone, and those by tags have a row for each.
_OF_CHARGES: Final = (TeamDay, ModelDay, PairDay, DimensionHour)
# The pairs of columns that there are sums of days of, those with the fewest rows first.
_PAIRS: Final = (
    *(("user", "provider"), ("provider", "tags"), ("user", "request_model"), ("request_model", "tags")),
    ("user", "tags"),
)
_OF_HOURS: Final = ("provider", "request_model", "user", "tags")


@dataclass(frozen=True, kw_only=True)
class Question:
    """Calls that an organization admitted from `start` until before `end`, grouped; `narrowed` are look-ups of columns
    in which they have to agree. With the group `hour`, the bounds are whole hours. `seen` leaves out what may not be
    seen; where that is nothing, `sees_all`."""

    organization: str
    zone: ZoneInfo
    group_by: Sequence[GroupBy]
    start: datetime | None = None
    end: datetime | None = None
    narrowed: Mapping[str, Any] = field(default_factory=dict)
    seen: Callable[[QuerySet[Any]], QuerySet[Any]] = lambda rows: rows
    sees_all: bool = False

    @property
    def is_of_whole_hours(self) -> bool:
        return all(hour_start(bound, self.zone) == bound for bound in self._bounds)

    @property
    def is_of_whole_days(self) -> bool:
        return all(day_start(self._day(bound), self.zone) == bound for bound in self._bounds)

    @property
    def _bounds(self) -> list[datetime]:
        return [bound for bound in (self.start, self.end) if bound is not None]

    def _day(self, bound: datetime) -> date:
        return bound.astimezone(self.zone).date()

    def within(self, rows: QuerySet[Any], column: str) -> QuerySet[Any]:
        """The charges of the span that may be seen, where the column says when they were."""
        bounds = {"gte": self.start, "lt": self.end}
        if column == "day":
            bounds = {name: bound and self._day(bound) for name, bound in bounds.items()}  # type: ignore[misc]
        span = {f"{column}__{name}": bound for name, bound in bounds.items() if bound is not None}
        found = rows.filter(organization=self.organization, **span, **self.narrowed)
        return self.seen(found if rows.model in _OF_CHARGES else found.filter(CHARGES))


def spent(question: Question) -> Iterator[Row]:
    """Rows of the groups and of `SUMS`, in the order of the groups. What has no team, key, user … is under "".

    Calls with several tags are in the row of each, so sums by tag do not add up to what was spent.
    """
    columns = [f"group_{name}" for name in question.group_by]
    key = itemgetter(*columns) if columns else lambda _row: ()
    parts = [_grouped(question, charges).iterator(chunk_size=_ROWS_AT_ONCE) for charges in _sources(question)]
    for _, rows in groupby(heapq.merge(*parts, key=key), key=key):
        found = list(rows)
        groups = {name: found[0][column] for name, column in zip(question.group_by, columns, strict=True)}
        sums = {name: sum(row[f"sum_{name}"] for row in found) for name in SUMS}
        if any(sums.values()):
            yield groups | sums


def has_more_groups(question: Question, most: int) -> bool:
    """Whether a look at a part of the charges shows that there are more groups than so many; False says nothing.

    Sums of so many groups take seconds, and whoever wants no more need not wait for them.
    """
    charges = _charges(question)
    if charges.model is UsageEvent:
        return False
    groups = {f"group_{name}": _group(name, charges, question.zone) for name in question.group_by}
    calls = charges if charges.model in _OF_CHARGES else charges.filter(CALLS)
    named = calls.filter(requests__gt=0).order_by().annotate(**groups).values(*groups)
    found = 0
    for looked_at in (2 * most, 20 * most):
        try:
            sql, parameters = named[:looked_at].query.sql_with_params()
        except EmptyResultSet:
            return False
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM (SELECT DISTINCT * FROM ({sql}) AS looked_at) AS seen", parameters)
            (found,) = cursor.fetchone()
        # So few of these rows would not be enough of ten times as many either.
        if found > most or found < most // 10:
            break
    return found > most


def with_key_names(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows with `name`, which is that of the key, or None where there is no such key."""
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        found = VirtualKey.objects.filter(pk__in={row["key"] for row in some})
        names = dict(found.values_list("id", "name"))
        yield from (row | {"name": names.get(row["key"])} for row in some)


def _sources(question: Question) -> list[QuerySet[Any]]:
    """The charges, each in one of these."""
    charges = _charges(question)
    if charges.model in (UsageEvent, HourRollup):
        return [charges]
    # A day that becomes stale after this is read as it was.
    stale = HourRollup.objects.filter(organization=question.organization, is_in_day=False)
    stale_days = list(stale.order_by().values_list("day", flat=True).distinct())
    hours = question.within(HourRollup.objects.all(), "hour")
    return [charges.exclude(day__in=stale_days), hours.filter(day__in=stale_days)] if stale_days else [charges]


def _charges(question: Question) -> QuerySet[Any]:
    """The charges from the narrowest table that can tell, as far as they are added up there."""
    if not question.is_of_whole_hours:
        return question.within(UsageEvent.objects.all(), "reserved_at")
    if "hour" in question.group_by or not question.is_of_whole_days:
        return question.within(_narrowest_hours(question), "hour")
    return question.within(_narrowest_days(question), "day")


def _narrowest_days(question: Question) -> QuerySet[Any]:
    """The sums of days with the fewest rows that can tell."""
    asked = _asked(question) - {"day"}
    if question.sees_all:
        if asked <= {"request_model", "provider"}:
            return ModelDay.objects.all()
        for first, second in _PAIRS:
            if asked <= {first, second}:
                named = {first: F("first"), second: F("second")}
                return PairDay.objects.filter(pair=f"{first},{second}").annotate(**named)
    return (TeamDay if asked <= {"team"} else DayRollup).objects.all()


def _narrowest_hours(question: Question) -> QuerySet[Any]:
    """The sums of hours with the fewest rows that can tell."""
    asked = _asked(question) - {"day", "hour"}
    for dimension in _OF_HOURS:
        if asked <= {dimension} and question.sees_all:
            return DimensionHour.objects.filter(dimension=dimension).annotate(**{dimension: F("value")})
    return HourRollup.objects.all()


def _asked(question: Question) -> set[str]:
    """The columns and look-ups that a question is about, but those of its span."""
    return {GROUP_COLUMNS.get(name, name) for name in question.group_by} | set(question.narrowed)


def _grouped(question: Question, charges: QuerySet[Any]) -> QuerySet[Any, Row]:
    groups = {f"group_{name}": _group(name, charges, question.zone) for name in question.group_by}
    named = charges.order_by().annotate(**groups).values(*groups).annotate(**_sums(charges))
    ordered: QuerySet[Any, Row] = named.order_by(*groups)
    return ordered


def _group(name: GroupBy, charges: QuerySet[Any], zone: ZoneInfo) -> Any:
    if name == "day":
        return TruncDate("reserved_at", tzinfo=zone) if charges.model is UsageEvent else F("day")
    if name == "hour":
        return F("hour")
    text = _each_tag() if name == "tag" and charges.model not in _OF_CHARGES else F(GROUP_COLUMNS[name])
    # The order of Python's text, in which the parts are merged.
    return Collate(text, "C")


def _each_tag() -> Func:
    """A row for each tag, and one with "" where there are none."""
    tags: ArrayField[Any, Any] = ArrayField(TextField())
    none = Value([""], output_field=tags)
    return Func(
        Case(When(tags=[], then=none), default=F("tags"), output_field=tags),
        function="unnest",
        output_field=CharField(),
    )


def _sums(charges: QuerySet[Any]) -> dict[str, Any]:
    counted: dict[str, Any] = {
        "sum_requests": Sum("requests", default=0, filter=CALLS),
        "sum_unpriced": Sum("unpriced", default=0),
    }
    if charges.model is UsageEvent:
        counted = {
            "sum_requests": Count("id", filter=CALLS),
            "sum_unpriced": Count("id", filter=Q(amount_nusd=None)) - Count("id", filter=Q(outcome=REPRICED)),
        }
    if charges.model in _OF_CHARGES:
        counted["sum_requests"] = Sum("requests", default=0)
    return counted | {f"sum_{name}": Sum(name, default=0) for name in ("amount_nusd", *_TOKENS)}
