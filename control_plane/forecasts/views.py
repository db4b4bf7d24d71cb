"""Forecasts over the REST API."""

from __future__ import annotations

from django.db.models import QuerySet

from control_plane.api.views import OrganizationViewSet
from control_plane.forecasts.models import Forecast
from control_plane.forecasts.selectors import running
from control_plane.forecasts.serializers import ForecastSerializer


class ForecastViewSet(OrganizationViewSet[Forecast]):
    """What is foreseen of running periods."""

    scope = "budgets"
    http_method_names = ("get", "head", "options")
    queryset = Forecast.objects.select_related("budget")
    serializer_class = ForecastSerializer
    organization_path = "budget__organization"
    filters = {"budget": "budget", "subject": "subject", "period": "period"}

    def get_queryset(self) -> QuerySet[Forecast]:
        return running(super().get_queryset())
