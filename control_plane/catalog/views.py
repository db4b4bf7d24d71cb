"""The catalogue over the REST API."""

from __future__ import annotations

from control_plane.api.views import OrganizationViewSet
from control_plane.catalog.models import Deployment, Model, Provider
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
