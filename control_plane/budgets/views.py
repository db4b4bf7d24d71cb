"""Budgets, their extensions, and limits over the REST API."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import OrganizationViewSet
from control_plane.budgets.extensions import revoke_extension
from control_plane.budgets.models import Budget, Extension, Limit
from control_plane.budgets.selectors import Usage, usage_if_known
from control_plane.budgets.serializers import BudgetSerializer, ExtensionSerializer, LimitSerializer
from control_plane.rights.scope import visible


class BudgetViewSet(OrganizationViewSet[Budget]):
    scope = "budgets"
    queryset = Budget.objects.select_related("organization", "model", "provider")
    serializer_class = BudgetSerializer
    filters = {"name": "name", "scope": "scope", "subject": "subject"}
    _usage: dict[int, list[Usage]] | None = None

    def paginate_queryset(self, queryset: Any) -> Any:
        """Reads how the budgets of the page stand, all at once."""
        page = super().paginate_queryset(queryset)
        self._usage = usage_if_known(page or [])
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "usage": self._usage}


class ExtensionViewSet(OrganizationViewSet[Extension]):
    """Extensions of one budget, ended and revoked ones too. They are made and revoked, never changed."""

    scope = "budgets"
    http_method_names = ("get", "post", "head", "options")
    queryset = Extension.objects.select_related("budget", "created_by", "revoked_by")
    serializer_class = ExtensionSerializer
    organization_path = "budget__organization"
    filters = {"subject": "subject"}

    def get_queryset(self) -> QuerySet[Extension]:
        return super().get_queryset().filter(budget=self.kwargs["budget_id"])

    def get_serializer_context(self) -> dict[str, Any]:
        own = visible(Budget.objects.filter(organization=self.organization), self.person)
        return {**super().get_serializer_context(), "budget": get_object_or_404(own, pk=self.kwargs["budget_id"])}

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End it before its time; the cap is lowered on the next request."""
        extension = revoke_extension(self.get_object().pk, revoked_by=self.caller.user)
        return Response(self.get_serializer(extension).data)


class LimitViewSet(OrganizationViewSet[Limit]):
    scope = "budgets"
    queryset = Limit.objects.select_related("organization", "model", "provider")
    serializer_class = LimitSerializer
    filters = {"name": "name", "scope": "scope", "subject": "subject"}
