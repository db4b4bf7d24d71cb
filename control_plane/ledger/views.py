"""Spend and events over the REST API."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.csv_answers import csv_response
from control_plane.api.views import ApiView, Pages
from control_plane.ledger.answers import RefusalsRow, ShadowRefusalsRow, SpendRow
from control_plane.ledger.models import UsageEvent
from control_plane.ledger.refusals import refusals, shadow_refusals
from control_plane.ledger.selectors import REMARKED
from control_plane.ledger.serializers import EventSerializer, EventsQuery, SpanQuery, SpendQuery
from control_plane.ledger.spend import Question, has_more_groups
from control_plane.ledger.spend_answer import columns_of, spend_rows
from control_plane.rights.scope import visible

_MOST_ROWS: Final = 10_000


class SpendView(ApiView):
    """What was spent, as one row for each of what it is grouped by.

    As JSON, at most 10,000 rows, in the order of time where it is grouped by day or hour, else the dearest first; as
    CSV, any number of rows, in the order of the groups. Calls with several tags are in the row of each.
    """

    scope = "spend"

    @extend_schema(
        parameters=[SpendQuery],
        responses={(200, "application/json"): SpendRow(many=True), (200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponseBase:
        asked = _asked(SpendQuery, request)
        question: Question = asked["question"]
        rows = spend_rows(question)
        if asked["format"] == "csv":
            return csv_response(rows, columns_of(question.group_by), file_name="spend.csv")
        is_too_long = has_more_groups(question, _MOST_ROWS)
        found = [] if is_too_long else list(islice(rows, _MOST_ROWS + 1))
        if is_too_long or len(found) > _MOST_ROWS:
            raise ValidationError({"group_by": f"More than {_MOST_ROWS:,} rows: ask for less, or for format=csv."})
        return Response(sorted(found, key=_first_by_time_then_dearest))


class RefusalsView(ApiView):
    """What limits and budgets have refused, as one row for each rule and team, the most frequent first."""

    scope = "spend"

    @extend_schema(parameters=[SpanQuery], responses=RefusalsRow(many=True))
    def get(self, request: Request) -> Response:
        query = _asked(SpanQuery, request)
        teams = self.person.teams_seen(self.organization.slug)
        return Response([asdict(row) for row in refusals(self.organization.slug, teams=teams, **query)])


class ShadowRefusalsView(ApiView):
    """What limits and budgets in shadow mode would have refused, and what those calls have cost."""

    scope = "spend"

    @extend_schema(parameters=[SpanQuery], responses=ShadowRefusalsRow(many=True))
    def get(self, request: Request) -> Response:
        query = _asked(SpanQuery, request)
        teams = self.person.teams_seen(self.organization.slug)
        return Response([asdict(row) for row in shadow_refusals(self.organization.slug, teams=teams, **query)])


class NewestFirst(Pages):
    ordering = "-id"


@extend_schema(parameters=[EventsQuery])
class EventsView(ApiView, generics.ListAPIView[UsageEvent]):
    """Rows of the ledger, the newest first."""

    scope = "spend"
    serializer_class = EventSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[UsageEvent]:
        query = _asked(EventsQuery, self.request)
        start, end = query.pop("start"), query.pop("end")
        remarks = [
            REMARKED[name] if query.pop(name) else ~REMARKED[name]
            for name in ("degraded", "shadow_refused")
            if name in query
        ]
        equal = {name: value for name, value in query.items() if name not in ("cursor", "page_size")}
        seen = visible(UsageEvent.objects.filter(organization=self.organization.slug), self.person)
        events = seen.filter(*remarks, **equal)
        if start is not None:
            events = events.filter(reserved_at__gte=start)
        return events if end is None else events.filter(reserved_at__lt=end)


def _asked(query: type[SpanQuery], request: Request) -> dict[str, Any]:
    """The question in the query string, read strictly."""
    if repeated := [name for name, values in request.query_params.lists() if len(values) > 1]:
        raise ValidationError(dict.fromkeys(repeated, "Give this once."))
    serializer = query(data=request.query_params.dict(), context={"request": request})
    serializer.is_valid(raise_exception=True)
    question: dict[str, Any] = serializer.validated_data
    return question


def _first_by_time_then_dearest(row: dict[str, Any]) -> tuple[Any, ...]:
    return row.get("day", ""), row.get("hour", ""), -row["amount_nusd"]
