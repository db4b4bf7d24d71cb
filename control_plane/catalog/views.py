"""The catalogue over the REST API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.views import OrganizationViewSet
from control_plane.catalog.failing import clear_mark, failing_deployments
from control_plane.catalog.models import Deployment, Discount, Model, Price, Provider
from control_plane.catalog.price_serializers import DiscountSerializer, PriceSerializer
from control_plane.catalog.serializers import (
    DeploymentSerializer,
    FailingSerializer,
    ModelSerializer,
    ProviderSerializer,
)


class ProviderViewSet(OrganizationViewSet[Provider]):
    scope = "catalog"
    queryset = Provider.objects.select_related("organization")
    serializer_class = ProviderSerializer
    lookup_field = "name"
    filters = {"name": "name"}


class ModelViewSet(OrganizationViewSet[Model]):
    scope = "catalog"
    queryset = Model.objects.all()
    serializer_class = ModelSerializer
    lookup_field = "name"
    # The names of models have dots and slashes.
    lookup_value_regex = ".+"
    filters = {"name": "name"}


class DeploymentViewSet(OrganizationViewSet[Deployment]):
    scope = "catalog"
    queryset = Deployment.objects.select_related("model", "provider").prefetch_related("prices")
    serializer_class = DeploymentSerializer
    organization_path = "model__organization"
    filters = {
        "model": "model__name",
        "provider": "provider__name",
        "provider_model": "provider_model",
        "protocol": "protocol",
    }

    @extend_schema(filters=False, responses=FailingSerializer(many=True))
    @action(detail=False, pagination_class=None)
    def failing(self, request: Request) -> Response:
        """Those that are marked as failing, with since when and until when calls go elsewhere."""
        if unknown := sorted(request.query_params):
            raise ValidationError(dict.fromkeys(unknown, "There is no such filter."))
        marked = failing_deployments(self.get_queryset().select_related("model__organization"))
        return Response([asdict(each) for each in marked])

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="clear-mark")
    def clear_mark(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Have calls go there again; also where they do already."""
        deployment = self.get_object()
        clear_mark(deployment, actor=self.actor)
        return Response(self.get_serializer(deployment).data)


class PriceViewSet(OrganizationViewSet[Price]):
    """The price book. Rows are added, and come into effect at their instant; they are never changed."""

    scope = "catalog"
    http_method_names = ("get", "post", "head", "options")
    queryset = Price.objects.select_related("deployment")
    serializer_class = PriceSerializer
    organization_path = "deployment__model__organization"
    filters = {"deployment": "deployment", "source": "source"}


class DiscountViewSet(OrganizationViewSet[Discount]):
    """What is taken off prices. Rows are added, and come into effect at their instant; they are never changed."""

    scope = "catalog"
    http_method_names = ("get", "post", "head", "options")
    queryset = Discount.objects.select_related("provider", "deployment")
    serializer_class = DiscountSerializer
    filters = {"deployment": "deployment", "provider": "provider__name"}
