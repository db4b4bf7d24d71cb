"""The audit log over the REST API."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from control_plane.api.views import ApiView, Pages
from control_plane.audit.export import exported
from control_plane.audit.models import AuditEntry
from control_plane.audit.serializers import AuditQuery, EntrySerializer
from control_plane.rights.scope import visible


class NewestFirst(Pages):
    ordering = "-id"


@extend_schema(parameters=[AuditQuery])
class AuditView(ApiView, generics.ListAPIView[AuditEntry]):
    """What was changed in the caller's organization and of its people, the newest first; as CSV or JSON lines, all of
    it and the oldest first."""

    scope = "admin"
    serializer_class = EntrySerializer
    pagination_class = NewestFirst

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        form = self._asked["format"]
        return super().get(request, *args, **kwargs) if form == "json" else exported(self.get_queryset(), form)

    def get_queryset(self) -> QuerySet[AuditEntry]:
        query = self._asked
        start, end = query.pop("start"), query.pop("end")
        equal = {name: value for name, value in query.items() if name not in ("cursor", "page_size", "format")}
        own = Q(organization=self.organization.slug) | Q(organization="", kind="user")
        entries = visible(AuditEntry.objects.filter(own, **equal), self.person)
        if start is not None:
            entries = entries.filter(recorded_at__gte=start)
        return entries if end is None else entries.filter(recorded_at__lt=end)

    @property
    def _asked(self) -> dict[str, Any]:
        """The question in the query string, read strictly."""
        given = self.request.query_params
        if repeated := [name for name, values in given.lists() if len(values) > 1]:
            raise ValidationError(dict.fromkeys(repeated, "Give this once."))
        serializer = AuditQuery(data=given.dict(), context={"request": self.request})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)
