"""Spend and events over the REST API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from control_plane.api.models import ApiToken
from control_plane.api.views import Pages
from control_plane.ledger.models import UsageEvent
from control_plane.ledger.refusals import refusals, shadow_refusals
from control_plane.ledger.selectors import REMARKED, Spend, spend_by
from control_plane.ledger.serializers import EventSerializer, EventsQuery, SpanQuery, SpendQuery


class SpendView(APIView):
    """What teams, keys, users or models have spent, as one row each, the dearest first."""

    def get(self, request: Request) -> Response:
        query = _asked(SpendQuery, request)
        organization = _token(request).organization
        group_by = query.pop("group_by")
        rows = spend_by(organization.slug, group_by, zone=organization.zone, **query)
        return Response([_spend_row(group_by, row) for row in rows])


class RefusalsView(APIView):
    """What limits and budgets have refused, as one row for each rule and team, the most frequent first."""

    def get(self, request: Request) -> Response:
        query = _asked(SpanQuery, request)
        return Response([asdict(row) for row in refusals(_token(request).organization.slug, **query)])


class ShadowRefusalsView(APIView):
    """What limits and budgets in shadow mode would have refused, and what those calls have cost."""

    def get(self, request: Request) -> Response:
        query = _asked(SpanQuery, request)
        return Response([asdict(row) for row in shadow_refusals(_token(request).organization.slug, **query)])


class NewestFirst(Pages):
    ordering = "-id"


class EventsView(generics.ListAPIView[UsageEvent]):
    """Rows of the ledger, the newest first."""

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
        events = UsageEvent.objects.filter(*remarks, organization=_token(self.request).organization.slug, **equal)
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


def _token(request: Request) -> ApiToken:
    assert isinstance(request.auth, ApiToken)
    return request.auth


def _spend_row(group_by: str, row: Spend) -> dict[str, Any]:
    fields = asdict(row)
    subject, name = fields.pop("subject") or None, fields.pop("name")
    return {group_by: subject} | ({"name": name} if group_by == "key" else {}) | fields
