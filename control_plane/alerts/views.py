"""Webhooks over the REST API."""

from __future__ import annotations

from control_plane.alerts.models import Webhook
from control_plane.alerts.serializers import WebhookSerializer
from control_plane.api.views import OrganizationViewSet


class WebhookViewSet(OrganizationViewSet[Webhook]):
    scope = "alerts"
    queryset = Webhook.objects.select_related("organization")
    serializer_class = WebhookSerializer
    filters = {"url": "url"}
