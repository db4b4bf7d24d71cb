"""Alerts about budgets, and the signed webhooks that carry them out of the house."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from control_plane.alerts.validators import validate_webhook_url


class Webhook(models.Model):
    """Where an organization wants its alerts sent. The secret signs them; it is sealed, and shown only once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500, validators=[validate_webhook_url], help_text="Where alerts are POSTed to.")
    sealed_secret = models.TextField(editable=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["organization", "url"], name="webhook_url_unique")]

    def __str__(self) -> str:
        return self.url

    @property
    def credential_id(self) -> str:
        """What its secret is sealed for."""
        return f"webhook/{self.pk}"


class Alert(models.Model):
    """A budget's subject has crossed a percentage of its cap, or is foreseen to reach all of it: of each kind once in a
    period, with what was known at that moment.

    `budget` is the budget's reference, `team` is "" where no team is meant; `cap` and `spent` are in `unit`. The day on
    which the cap will be reached, `exceeds_on`, is that of a forecast.

    Of the kind `keys_due` it is about no budget: it lists the `keys` of which people are to be reminded in a `period`
    of a day.
    """

    class Kind(models.TextChoices):
        THRESHOLD = "threshold"
        FORECAST = "forecast"
        NEAR_FORECAST = "near_forecast"
        KEYS_DUE = "keys_due"

    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="alerts")
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.THRESHOLD)
    event_id = models.TextField()
    budget = models.TextField()
    budget_name = models.TextField()
    subject = models.TextField()
    team = models.TextField()
    period = models.TextField()
    percent = models.PositiveSmallIntegerField()
    unit = models.TextField()
    cap = models.BigIntegerField()
    spent = models.BigIntegerField()
    exceeds_on = models.DateField(null=True)
    keys = models.JSONField(default=list)
    crossed_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "budget", "subject", "period", "kind", "percent"], name="alert_once_a_period"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["threshold", "keys_due"], exceeds_on=None)
                | ~Q(kind__in=["threshold", "keys_due"]) & Q(exceeds_on__isnull=False),
                name="alert_exceeds_on",
            ),
        ]

    def __str__(self) -> str:
        return " · ".join(part for part in (self.title, self.subject, self.period) if part)

    @property
    def title(self) -> str:
        """What it says, in a few words."""
        if self.kind == self.Kind.KEYS_DUE:
            return f"{len(self.keys)} {'key is' if len(self.keys) == 1 else 'keys are'} due"
        if self.exceeds_on is None:
            return f"{self.percent} % of {self.budget_name}"
        return f"{self.budget_name} used up on {self.exceeds_on.isoformat()}"


class Delivery(models.Model):
    """An alert on its way to a webhook. While it waits, it is due at `next_attempt_at`."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    http_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=100)
    delivered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["next_attempt_at"], name="delivery_due", condition=Q(state="waiting"))]
        constraints = [models.UniqueConstraint(fields=["alert", "webhook"], name="delivery_once_a_webhook")]

    def __str__(self) -> str:
        return f"{self.alert} → {self.webhook}"
