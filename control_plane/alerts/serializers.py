"""Webhooks as the REST API shows and takes them; the secret is in the answer to its creation and nowhere else."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.alerts import services
from control_plane.alerts.models import Delivery, Webhook
from control_plane.api.serializers import StrictSerializer


class WebhookSerializer(StrictSerializer[Webhook]):
    changes_by_itself = frozenset({"secret"})

    id = serializers.UUIDField(read_only=True)
    url = serializers.CharField(max_length=500)
    secret = serializers.CharField(write_only=True, required=False, trim_whitespace=False)
    active = serializers.BooleanField(default=True)
    created_at = serializers.DateTimeField(read_only=True)

    also_shown = {"secret": serializers.CharField(help_text="Only in the answer that makes it.", required=False)}

    _secret: str | None = None

    def create(self, validated_data: dict[str, Any]) -> Webhook:
        fields = {"secret": None} | validated_data
        webhook, self._secret = services.create_webhook(organization=self.organization, **fields)
        return webhook

    def update(self, instance: Webhook, validated_data: dict[str, Any]) -> Webhook:
        return services.change_webhook(instance.pk, **validated_data)

    def to_representation(self, instance: Webhook) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | ({"secret": self._secret} if self._secret else {})


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """An alert on its way to a webhook, with what the alert says."""

    title = serializers.CharField(source="alert.title")
    subject = serializers.CharField(source="alert.subject")
    period = serializers.CharField(source="alert.period")
    url = serializers.CharField(source="webhook.url")

    class Meta:
        model = Delivery
        fields = (
            *("id", "title", "subject", "period", "webhook", "url", "state", "attempts", "http_status", "error"),
            *("next_attempt_at", "delivered_at", "created_at"),
        )


class TrialSerializer(serializers.Serializer[Any]):
    """What an endpoint has answered to a test."""

    accepted = serializers.BooleanField()
    http_status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True)
