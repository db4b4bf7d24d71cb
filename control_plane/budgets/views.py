"""Budgets and limits over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.budgets.models import Budget, Limit
from control_plane.budgets.serializers import BudgetSerializer, LimitSerializer


class BudgetViewSet(OrganizationViewSet[Budget]):
    queryset = Budget.objects.select_related("organization", "model", "provider")
    serializer_class = BudgetSerializer
    filters = {"name": "name", "scope": "scope", "subject": "subject"}


class LimitViewSet(OrganizationViewSet[Limit]):
    queryset = Limit.objects.select_related("organization", "model", "provider")
    serializer_class = LimitSerializer
    filters = {"name": "name", "scope": "scope", "subject": "subject"}
