"""Raising alerts, and keeping the webhooks that they go to."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from control_plane.alerts.models import Alert, Delivery, Webhook
from control_plane.alerts.signing import seal_secret
from control_plane.alerts.tasks import deliver
from control_plane.budgets.models import Budget
from control_plane.keys.models import KeyReminder, VirtualKey
from control_plane.ledger.rows import instant_of
from control_plane.rows import change_row, create_row
from kong_plugins.llm.events import ThresholdEvent

if TYPE_CHECKING:
    from control_plane.forecasts.models import Forecast
    from control_plane.teams.models import Organization

logger = logging.getLogger(__name__)


def raise_alerts(*, crossings: Sequence[ThresholdEvent], **_signal: Any) -> None:
    """Receive `thresholds_crossed`: write an alert, once a period, and a delivery for each of its webhooks.

    Runs in the ledger's transaction; the deliveries are attempted once that is committed, and the periodic task
    finds what then went wrong.
    """
    for crossing in sorted(crossings, key=lambda crossing: crossing.id):
        budget = _budget_of(crossing)
        if budget is None:
            logger.warning("no alert: %s has no budget %s", crossing.organization, crossing.budget)
        else:
            _raise(
                budget,
                *(Alert.Kind.THRESHOLD, crossing.subject, crossing.period, crossing.percent),
                event_id=crossing.id,
                cap=crossing.cap,
                spent=crossing.spent,
                crossed_at=instant_of(crossing.crossed_at_ms),
            )


def raise_forecast_alert(*, forecast: Forecast, **_signal: Any) -> None:
    """Receive `exceeding_foreseen`: write an alert and its deliveries, in the transaction that stores the forecast."""
    is_near = forecast.told == forecast.Told.NEAR
    kind = Alert.Kind.NEAR_FORECAST if is_near else Alert.Kind.FORECAST
    budget = forecast.budget
    _raise(
        budget,
        *(kind, forecast.subject, forecast.period, 100),
        event_id=f"{budget.organization.slug}:{budget.reference}:{forecast.subject}:{forecast.period}:{kind}",
        cap=forecast.cap,
        spent=forecast.spent,
        crossed_at=forecast.calculated_at,
        exceeds_on=forecast.exceeds_on,
    )


def _raise(budget: Budget, kind: Alert.Kind, subject: str, period: str, percent: int, **facts: Any) -> None:
    """Write an alert, unless there is one already, and a delivery for each of the organization's webhooks."""
    alert, is_new = Alert.objects.get_or_create(
        organization=budget.organization,
        budget=budget.reference,
        subject=subject,
        period=period,
        kind=kind,
        percent=percent,
        defaults={"budget_name": budget.name, "team": _team_of(budget, subject), "unit": budget.unit, **facts},
    )
    if is_new:
        _send(alert)


def raise_keys_alert(*, organization: Organization, reminders: Sequence[KeyReminder], **_signal: Any) -> None:
    """Receive `keys_fall_due`: write one alert of all these keys and its deliveries, in the transaction that notes that
    people were reminded of them."""
    now = timezone.now()
    day = now.astimezone(organization.zone).date().isoformat()
    alert = Alert.objects.create(
        organization=organization,
        kind=Alert.Kind.KEYS_DUE,
        event_id=f"{organization.slug}:keys:{day}",
        period=day,
        percent=0,
        cap=0,
        spent=0,
        crossed_at=now,
        keys=[_due_key(reminder) for reminder in reminders],
    )
    _send(alert)


def _due_key(reminder: KeyReminder) -> dict[str, str]:
    return {
        "id": reminder.key_id,
        "name": reminder.key.name,
        "team": reminder.key.team.slug,
        "contact": reminder.key.contact,
        "due": str(reminder.kind),
        "due_at": reminder.due_at.isoformat(),
    }


def _send(alert: Alert) -> None:
    """Write a delivery for each of the organization's webhooks."""
    for webhook in Webhook.objects.filter(organization=alert.organization, active=True):
        delivery = Delivery.objects.create(alert=alert, webhook=webhook, next_attempt_at=timezone.now())
        transaction.on_commit(partial(deliver.apply_async, (delivery.pk,), retry=False), robust=True)


def _budget_of(crossing: ThresholdEvent) -> Budget | None:
    if not crossing.budget.isdecimal():
        return None
    budgets = Budget.objects.select_related("organization")
    return budgets.filter(pk=int(crossing.budget), organization__slug=crossing.organization).first()


def _team_of(budget: Budget, subject: str) -> str:
    if budget.scope == "team":
        return subject
    if budget.scope == "key":
        return VirtualKey.objects.filter(pk=subject).values_list("team__slug", flat=True).first() or ""
    return ""


@transaction.atomic
def create_webhook(*, organization: Organization, url: str, active: bool, secret: str | None) -> tuple[Webhook, str]:
    """Make a webhook, with a secret of ours if none is given; return it and the secret, which is to be shown once.

    Raises:
        ValidationError: by field.
    """
    secret = secret or f"whsec_{secrets.token_urlsafe(32)}"
    webhook = Webhook(organization=organization, url=url, active=active)
    webhook.sealed_secret = seal_secret(webhook, secret)
    return create_row(webhook), secret


@transaction.atomic
def change_webhook(webhook_id: UUID, *, secret: str | None = None, **changes: Any) -> Webhook:
    """Change where a webhook points, whether it is used, or its secret.

    Raises:
        ValidationError: by field.
    """
    webhook, _ = change_row(Webhook.objects.all(), webhook_id, changes)
    if secret is not None:
        webhook.sealed_secret = seal_secret(webhook, secret)
        webhook.save(update_fields=["sealed_secret"])
    return webhook
