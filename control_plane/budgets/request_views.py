"""Requests for more of a budget over the REST API."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.problems import Conflict
from control_plane.api.views import OrganizationViewSet
from control_plane.budgets.extension_requests import NotWaiting, with_state, withdraw_request
from control_plane.budgets.models import ExtensionRequest
from control_plane.budgets.request_serializers import (
    ApprovalSerializer,
    AskedExtensionSerializer,
    RefusalSerializer,
)


class ExtensionRequestViewSet(OrganizationViewSet[ExtensionRequest]):
    """Requests for more of a budget. They are made, and once approved, refused or withdrawn, never changed.

    Whoever is above decides: who owns the team's department, or administers the organization; never who asked. Of
    several decisions at the same time one counts, and the others are answered with 409.
    """

    scope = "budgets"
    http_method_names = ("get", "post", "head", "options")
    queryset = ExtensionRequest.objects.select_related("budget", "team", "asked_by", "decided_by", "extension__budget")
    serializer_class = AskedExtensionSerializer
    organization_path = "team__organization"
    filters = {"budget": "budget", "team": "team__slug", "asked_by": "asked_by__username", "state": "current_state"}
    rights = {"approve": "decide", "refuse": "decide"}

    def seen(self, rows: QuerySet[ExtensionRequest]) -> QuerySet[ExtensionRequest]:
        return super().seen(with_state(rows))

    @extend_schema(request=ApprovalSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give what was asked for, or less of it; it counts on the next request."""
        return self._decided(ApprovalSerializer)

    @extend_schema(request=RefusalSerializer)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Refuse it, with a note that says why."""
        return self._decided(RefusalSerializer)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take back what the caller has asked for."""
        try:
            row = withdraw_request(self.get_object().pk, withdrawn_by=self.caller.user)
        except NotWaiting as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(row).data)

    def _decided(self, serializer_class: Any) -> Response:
        row = self.get_object()
        asked = serializer_class(data=self.request.data or {}, context={**self.get_serializer_context(), "row": row})
        asked.is_valid(raise_exception=True)
        try:
            decided = asked.save()
        except NotWaiting as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(decided).data)
