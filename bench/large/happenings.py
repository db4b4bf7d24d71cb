"""What has happened in the large organization beside calls: alerts and their deliveries, refusals that were counted,
events that could not be read, API tokens, discounts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from control_plane.alerts.models import Alert, Delivery, Webhook
from control_plane.api.models import ApiToken
from control_plane.catalog.models import Deployment, Discount
from control_plane.ledger.models import DeadLetter, RefusalCount
from control_plane.teams.models import Organization, Team, User

_BATCH = 5_000
_HOURS = 24


def make_happenings(organization: Organization) -> None:
    """As many of each as fit the organization's teams and people."""
    teams = list(Team.objects.order_by("pk"))
    _alerts(organization, teams)
    RefusalCount.objects.bulk_create(_refusals(organization, teams), _BATCH)
    DeadLetter.objects.bulk_create(
        DeadLetter(
            organization=organization.slug,
            entry_id=f"1-{n}",
            type="usage",
            payload=b"{}",
            reason="no JSON",
            deliveries=5,
        )
        for n in range(max(3, len(teams) // 100))
    )
    ApiToken.objects.bulk_create(
        (
            ApiToken(user=user, organization=organization, name=f"token of {user}", digest=secrets.token_hex(32))
            for user in User.objects.order_by("pk")
        ),
        _BATCH,
    )
    Discount.objects.bulk_create(
        Discount(organization=organization, deployment=deployment, percent=Decimal(5), created_by="platform")
        for deployment in Deployment.objects.order_by("pk")
    )


def _alerts(organization: Organization, teams: list[Team]) -> None:
    webhooks = Webhook.objects.bulk_create(
        Webhook(organization=organization, url=f"https://hooks.example/{n}", sealed_secret="") for n in range(2)
    )
    alerts = Alert.objects.bulk_create(_crossings(organization, teams[:: max(1, len(teams) // 2_000)]), _BATCH)
    Delivery.objects.bulk_create(
        (
            Delivery(
                alert=alert,
                webhook=webhook,
                state=Delivery.State.DELIVERED,
                attempts=1,
                next_attempt_at=alert.crossed_at,
                http_status=200,
                delivered_at=alert.crossed_at,
            )
            for alert in alerts
            for webhook in webhooks
        ),
        _BATCH,
    )


def _crossings(organization: Organization, teams: list[Team]) -> Iterator[Alert]:
    for team in teams:
        for percent in (50, 75, 90):
            yield Alert(
                organization=organization,
                event_id=f"{team.slug}-{percent}",
                budget=team.slug,
                budget_name=f"{team.name}, monthly",
                subject=team.slug,
                team=team.slug,
                period=f"{timezone.now():%Y-%m}",
                percent=percent,
                unit="nusd",
                cap=100,
                spent=percent,
                crossed_at=timezone.now(),
            )


def _refusals(organization: Organization, teams: list[Team]) -> Iterator[RefusalCount]:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for n, team in enumerate(teams):
        for ago in range(1, _HOURS + 1, 1 + n % 7):
            yield RefusalCount(
                organization=organization.slug,
                hour=hour - timedelta(hours=ago),
                team=team.slug,
                refusing_scope=f"{team.slug} a minute",
                calls=1 + n % 50,
            )
