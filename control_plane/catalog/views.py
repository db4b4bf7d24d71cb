"""The catalogue over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.catalog.models import Deployment, Discount, Model, Price, Provider
from control_plane.catalog.price_serializers import DiscountSerializer, PriceSerializer
from control_plane.catalog.serializers import DeploymentSerializer, ModelSerializer, ProviderSerializer


class ProviderViewSet(OrganizationViewSet[Provider]):
    queryset = Provider.objects.select_related("organization")
    serializer_class = ProviderSerializer
    lookup_field = "name"
    filters = {"name": "name"}


class ModelViewSet(OrganizationViewSet[Model]):
    queryset = Model.objects.all()
    serializer_class = ModelSerializer
    lookup_field = "name"
    # The names of models have dots and slashes.
    lookup_value_regex = ".+"
    filters = {"name": "name"}


class DeploymentViewSet(OrganizationViewSet[Deployment]):
    queryset = Deployment.objects.select_related("model", "provider").prefetch_related("prices")
    serializer_class = DeploymentSerializer
    organization_path = "model__organization"
    filters = {
        "model": "model__name",
        "provider": "provider__name",
        "provider_model": "provider_model",
        "protocol": "protocol",
    }


class PriceViewSet(OrganizationViewSet[Price]):
    """The price book. Rows are added, and come into effect at their instant; they are never changed."""

    http_method_names = ("get", "post", "head", "options")
    queryset = Price.objects.select_related("deployment")
    serializer_class = PriceSerializer
    organization_path = "deployment__model__organization"
    filters = {"deployment": "deployment", "source": "source"}


class DiscountViewSet(OrganizationViewSet[Discount]):
    """What is taken off prices. Rows are added, and come into effect at their instant; they are never changed."""

    http_method_names = ("get", "post", "head", "options")
    queryset = Discount.objects.select_related("provider", "deployment")
    serializer_class = DiscountSerializer
    filters = {"deployment": "deployment", "provider": "provider__name"}
