"""What a webhook is sent: a JSON body, and headers that prove who sent it and when.

The signature is HMAC-SHA256 in hex over `<timestamp>.<body>` under the webhook's secret. A receiver checks it over the
bytes as received, refuses old timestamps, and ignores an event id that it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from control_plane.alerts.models import Alert


@dataclass(frozen=True, kw_only=True)
class Message:
    event_id: str
    body: bytes

    def headers(self, *, secret: str, at: datetime) -> dict[str, str]:
        """The headers of an attempt at the instant `at`."""
        timestamp = str(int(at.timestamp()))
        signature = hmac.new(secret.encode(), timestamp.encode() + b"." + self.body, hashlib.sha256)
        return {
            "x-bursar-event-id": self.event_id,
            "x-bursar-timestamp": timestamp,
            "x-bursar-signature": signature.hexdigest(),
        }


def alert_message(alert: Alert) -> Message:
    """The same bytes at every attempt. Amounts carry their unit in their names, such as `cap_nusd`."""
    if alert.kind == Alert.Kind.KEYS_DUE:
        due = {"type": "keys.due", "organization": alert.organization.slug, "day": alert.period, "keys": alert.keys}
        return Message(event_id=alert.event_id, body=msgspec.json.encode(due))
    is_forecast = alert.kind != Alert.Kind.THRESHOLD
    content: dict[str, Any] = {
        "type": "budget.exceeding_foreseen" if is_forecast else "budget.threshold_crossed",
        "organization": alert.organization.slug,
        "budget": alert.budget,
        "budget_name": alert.budget_name,
        "subject": alert.subject,
        "team": alert.team or None,
        "period": alert.period,
        f"cap_{alert.unit}": alert.cap,
        f"spent_{alert.unit}": alert.spent,
    }
    if is_forecast:
        content |= {"exceeds_on": alert.exceeds_on, "foreseen_at": alert.crossed_at}
    else:
        content |= {"percent": alert.percent, "crossed_at": alert.crossed_at}
    return Message(event_id=alert.event_id, body=msgspec.json.encode(content))


def trial_message(organization: str) -> Message:
    """A message that says of itself that it is a test."""
    content = {"type": "test", "organization": organization, "sent_at": datetime.now(UTC)}
    return Message(event_id=f"test-{uuid.uuid4()}", body=msgspec.json.encode(content))
