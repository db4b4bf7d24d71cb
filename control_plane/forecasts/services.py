"""Calculating forecasts, and telling of each what is to be told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from control_plane.budgets.models import Budget, BudgetPeriod, Extension
from control_plane.budgets.selectors import extensions_by_subject
from control_plane.forecasts.arithmetic import Course, local_date, steps_of
from control_plane.forecasts.models import Forecast
from control_plane.forecasts.signals import exceeding_foreseen
from control_plane.forecasts.usage import Used, Window, usage_by_subject, window_of
from control_plane.ledger.rows import instant_of
from control_plane.live import live_state
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.windows import Period, period_at

logger = logging.getLogger(__name__)

# Fewer calls are no rate.
LEAST_CALLS: Final = 10
NEAR: Final = timedelta(hours=48)
# A total has no end, and a rate says nothing of a time that far away.
FURTHEST: Final = timedelta(days=366)


class Running(NamedTuple):
    """One subject's cap of a running period."""

    subject: str
    period: Period
    cap: int


def forecast_everything(at: datetime | None = None) -> None:
    """Calculate the forecasts of every organization, as of an instant, by default now."""
    for organization in Organization.objects.all():
        try:
            forecast(organization, at or timezone.now())
        except StoreUnavailable as error:
            logger.warning("%s: nothing can be foreseen: %s", organization.slug, error)


def forecast(organization: Organization, at: datetime) -> None:
    """Calculate the forecasts of an organization's active budgets.

    Raises:
        StoreUnavailable: what is spent is not known just now.
    """
    extensions = extensions_by_subject(organization.pk)
    budgets = Budget.objects.select_related("organization", "model", "provider")
    for budget in budgets.filter(organization=organization, active=True):
        foreseen = [
            _foresee(budget, running, used, window, extensions[budget.pk, running.subject], at)
            for running, used, window in _running(budget, at)
        ]
        known = [primary_key for primary_key in foreseen if primary_key is not None]
        _forget(budget, known, at)


def _running(budget: Budget, at: datetime) -> Iterator[tuple[Running, Used, Window]]:
    """The caps of running periods whose subjects have used enough to tell a rate."""
    at_ms = _milliseconds(at)
    rows = BudgetPeriod.objects.filter(budget=budget, starts_at_ms__lte=at_ms, ends_at_ms__gt=at_ms)
    caps: dict[Period, dict[str, int]] = {}
    for row in rows:
        period = Period(name=row.name, start_ms=row.starts_at_ms, end_ms=row.ends_at_ms)
        caps.setdefault(period, {})[row.subject] = row.cap
    if budget.is_for_each_user:
        caps.setdefault(_calendar_period(budget, at_ms), {})
    zone = budget.organization.zone
    for period, cap_of in caps.items():
        window = window_of(budget, period_start_ms=period.start_ms, at=at, zone=zone)
        for subject, used in usage_by_subject(budget, window).items() if window else ():
            cap = cap_of.get(subject, budget.amount if budget.is_for_each_user else None)
            if window and cap is not None and used.calls >= LEAST_CALLS:
                yield Running(subject, period, cap), used, window


def _calendar_period(budget: Budget, at_ms: int) -> Period:
    organization = budget.organization
    return period_at(budget.period, at_ms, organization.zone, fiscal_month_start=organization.fiscal_month_start)


def _foresee(
    budget: Budget, running: Running, used: Used, window: Window, extensions: list[Extension], at: datetime
) -> int | None:
    """Calculate and store one forecast; return its id, or None where Redis does not know what is spent."""
    organization, period = budget.organization, running.period
    state = live_state().budget_state(organization.slug, budget.reference, running.subject, period.name)
    if state is None:
        return None
    course = Course(at_ms=_milliseconds(at), spent=state.spent, used=used.amount, window_ms=window.length_ms)
    end_ms = min(period.end_ms, _milliseconds(at + FURTHEST))
    added = [(extension.amount, extension.expires_at_ms) for extension in extensions]
    steps = steps_of(running.cap, added, at_ms=course.at_ms, end_ms=end_ms)
    # What has been reached is no forecast: the threshold of 100 % has told of it.
    exceeds_ms = None if course.spent >= steps[0].cap else course.exceeds_ms(steps)
    exceeds_at = None if exceeds_ms is None else instant_of(exceeds_ms)
    return _store(
        Forecast(
            budget=budget,
            subject=running.subject,
            period=period.name,
            ends_at_ms=period.end_ms,
            cap=steps[0].cap,
            spent=course.spent,
            used=course.used,
            window_ms=course.window_ms,
            exceeds_at=exceeds_at,
            exceeds_on=local_date(exceeds_at, organization.zone) if exceeds_at else None,
            calculated_at=at,
        )
    )


@transaction.atomic
def _store(calculated: Forecast) -> int:
    """Keep the newest calculation, and tell of it what was not told before."""
    numbers = {name: getattr(calculated, name) for name in _CALCULATED}
    forecast, _ = Forecast.objects.select_for_update().update_or_create(
        budget=calculated.budget, subject=calculated.subject, period=calculated.period, defaults=numbers
    )
    told = _to_tell(forecast)
    if told != forecast.told:
        forecast.told = told
        forecast.save(update_fields=["told"])
        exceeding_foreseen.send(sender=None, forecast=forecast)
    return forecast.pk


_CALCULATED: Final = (
    *("ends_at_ms", "cap", "spent", "used", "window_ms"),
    *("exceeds_at", "exceeds_on", "calculated_at"),
)


def _to_tell(forecast: Forecast) -> str:
    """How much is told once this forecast is."""
    if forecast.exceeds_at is None or forecast.told == Forecast.Told.NEAR:
        return forecast.told
    return Forecast.Told.NEAR if forecast.exceeds_at - forecast.calculated_at <= NEAR else Forecast.Told.FORESEEN


def _forget(budget: Budget, known: list[int], at: datetime) -> None:
    """Take back the dates of running periods of which nothing is foreseen any more."""
    forgotten = Forecast.objects.filter(budget=budget, ends_at_ms__gt=_milliseconds(at)).exclude(pk__in=known)
    forgotten.update(exceeds_at=None, exceeds_on=None, calculated_at=at)


def _milliseconds(at: datetime) -> int:
    return (at - instant_of(0)) // timedelta(milliseconds=1)
