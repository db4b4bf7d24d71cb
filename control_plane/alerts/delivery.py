"""Carrying alerts to webhooks: a table of what is due, attempts that back off, and a state for each outcome.

An attempt is claimed by moving its due time ahead, so that no two workers send the same; a worker that dies after
the claim leaves a delivery that becomes due again. A receiver that sees an event id twice ignores the second.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db.models import F, QuerySet
from django.utils import timezone

from control_plane.alerts.http import Answer, post_json
from control_plane.alerts.messages import Message, alert_message, trial_message
from control_plane.alerts.models import Delivery, Webhook
from control_plane.alerts.signing import secret_of

# How long to wait after each failed attempt; after one more than these, it is given up.
PAUSES_SECONDS: Final = (10, 30, 90, 300, 900, 1800, 3600)
_CLAIM: Final = timedelta(seconds=60)


def due_delivery_ids(*, most: int) -> list[int]:
    """The deliveries whose time has come, the longest due first."""
    return list(_due().order_by("next_attempt_at").values_list("pk", flat=True)[:most])


def attempt(delivery_id: int) -> None:
    """Send a delivery that is due, and note what came of it; does nothing if it is not due."""
    claimed = _due().filter(pk=delivery_id).update(attempts=F("attempts") + 1, next_attempt_at=timezone.now() + _CLAIM)
    if not claimed:
        return
    delivery = Delivery.objects.select_related("alert__organization", "webhook").get(pk=delivery_id)
    if not delivery.webhook.active:
        _note(delivery, Answer(error="switched off"), last=True)
        return
    answer = _send(delivery.webhook, alert_message(delivery.alert))
    _note(delivery, answer, last=delivery.attempts > len(PAUSES_SECONDS))


def send_trial(webhook: Webhook) -> Answer:
    """Send a test message right now."""
    return _send(webhook, trial_message(webhook.organization.slug))


def try_again(deliveries: QuerySet[Delivery]) -> int:
    """Make deliveries that have not arrived due now, with all attempts before them; return how many."""
    return deliveries.exclude(state=Delivery.State.DELIVERED).update(
        state=Delivery.State.WAITING, attempts=0, next_attempt_at=timezone.now()
    )


def _due() -> QuerySet[Delivery]:
    return Delivery.objects.filter(state=Delivery.State.WAITING, next_attempt_at__lte=timezone.now())


def _send(webhook: Webhook, message: Message) -> Answer:
    try:
        secret = secret_of(webhook)
    except ValueError:
        return Answer(error="the secret cannot be opened")
    return post_json(webhook.url, message.body, message.headers(secret=secret, at=timezone.now()))


def _note(delivery: Delivery, answer: Answer, *, last: bool) -> None:
    now = timezone.now()
    delivery.http_status, delivery.error = answer.http_status, answer.error
    if answer.accepted:
        delivery.state, delivery.delivered_at = Delivery.State.DELIVERED, now
    elif last:
        delivery.state = Delivery.State.FAILED
    else:
        delivery.next_attempt_at = now + timedelta(seconds=PAUSES_SECONDS[delivery.attempts - 1])
    delivery.save(update_fields=["state", "delivered_at", "next_attempt_at", "http_status", "error"])
