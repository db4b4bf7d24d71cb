"""Webhooks, and what was delivered to them, over the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.alerts.delivery import send_trial, try_again
from control_plane.alerts.models import Delivery, Webhook
from control_plane.alerts.serializers import DeliverySerializer, TrialSerializer, WebhookSerializer
from control_plane.api.views import OrganizationViewSet


class WebhookViewSet(OrganizationViewSet[Webhook]):
    scope = "alerts"
    queryset = Webhook.objects.select_related("organization")
    serializer_class = WebhookSerializer
    filters = {"url": "url"}

    @extend_schema(request=None, responses=TrialSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send a signed message of the type "test" right now, and say what the endpoint has answered."""
        answer = send_trial(self.get_object())
        told = {"accepted": answer.accepted, "http_status": answer.http_status, "error": answer.error or None}
        return Response(told)


class DeliveryViewSet(OrganizationViewSet[Delivery]):
    """Alerts on their way to webhooks."""

    scope = "alerts"
    http_method_names = ("get", "post", "head", "options")
    queryset = Delivery.objects.select_related("alert", "webhook")
    serializer_class = DeliverySerializer
    organization_path = "webhook__organization"
    filters = {"state": "state", "webhook": "webhook"}

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Try again within seconds, with all attempts before it; one that has arrived is left alone."""
        delivery = self.get_object()
        try_again(Delivery.objects.filter(pk=delivery.pk))
        delivery.refresh_from_db()
        return Response(self.get_serializer(delivery).data)
