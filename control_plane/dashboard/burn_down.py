"""How fast a team's budgets are used up: the cap, what is spent day by day, and the day on which it will not last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import F, QuerySet, Sum

from control_plane.amounts import amount_text
from control_plane.budgets.models import Budget, BudgetPeriod
from control_plane.budgets.selectors import Usage, now_ms, usage_of
from control_plane.dashboard.charts import CAP_COLOUR, COLOURS, USD, Chart, Series, Unit
from control_plane.dashboard.view import View
from control_plane.forecasts.models import Forecast
from control_plane.ledger.models import DayRollup
from control_plane.ledger.periods import day_start
from control_plane.ledger.spend import CALLS
from control_plane.rights.scope import visible
from control_plane.teams.models import Team
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.windows import Period

BUDGETS_SHOWN: Final = 20
# A day later than this is none that anybody asks about, and may lie beyond the calendar.
_FARTHEST_DAYS: Final = 36_500
_CHARTS_SHOWN: Final = 4
_LONGEST_BEFORE: Final = timedelta(days=92)
_LONGEST_AFTER: Final = timedelta(days=31)
_AMOUNTS: Final[dict[str, Any]] = {
    "nusd": Sum("amount_nusd", default=0),
    "tokens": Sum(F("input_tokens") + F("output_tokens"), default=0),
    "requests": Sum("requests", default=0, filter=CALLS),
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A budget of a team, or of one of its keys, in its running period. `usage` is None while Redis is away.

    A budget that is too young for a forecast has the rate at which the team has spent before it, where that is known.
    """

    period: BudgetPeriod
    usage: Usage | None
    forecast: Forecast | None
    team_per_day: int | None = None

    @property
    def budget(self) -> Budget:
        return self.period.budget

    @property
    def cap(self) -> int:
        return self.usage.cap if self.usage else self.period.cap

    @property
    def per_day(self) -> int | None:
        """The rate at which it is used, in its unit."""
        if self.forecast is not None:
            return self.forecast.per_day
        budget = self.budget
        is_of_all = budget.model_id is None and budget.provider_id is None and budget.tag is None
        return self.team_per_day if budget.scope == "team" and budget.unit == "nusd" and is_of_all else None

    def ends_on(self, today: date, zone: ZoneInfo) -> date | None:
        """The day on which it will be used up; None where that is not before the end of its period."""
        if self.forecast is not None:
            return self.forecast.exceeds_on
        if not self.per_day or self.usage is None or self.usage.spent is None:
            return None
        days = (self.usage.cap - self.usage.spent) // self.per_day
        if days > _FARTHEST_DAYS:
            return None
        on = today + timedelta(days=days)
        return on if day_start(on, zone).timestamp() * 1000 < self.period.ends_at_ms else None


def standings(view: View, team: Team, keys: QuerySet[Any], *, team_per_day: int | None) -> list[Standing]:
    """The budgets of a team and of its keys, the team's own first; `team_per_day` is what the team spends."""
    at_ms = now_ms()
    running = visible(BudgetPeriod.objects.select_related("budget__organization", "budget__model"), view.person).filter(
        budget__organization=team.organization, budget__active=True, starts_at_ms__lte=at_ms, ends_at_ms__gt=at_ms
    )
    of_team = running.filter(budget__scope="team", subject=team.slug).order_by("budget__name")
    # As a subquery, Postgres takes it for so few that it looks at every cap once for each key.
    key_ids = list(keys.order_by().values_list("pk", flat=True))
    of_keys = running.filter(budget__scope="key", subject__in=key_ids).order_by("budget__name")
    rows = list(of_team[:BUDGETS_SHOWN])
    rows += of_keys[: BUDGETS_SHOWN - len(rows)] if len(rows) < BUDGETS_SHOWN else []
    foreseen = _forecasts(view, rows)
    try:
        usages: list[Usage | None] = list(usage_of(rows))
    except StoreUnavailable:
        usages = [None] * len(rows)
    return [
        Standing(
            period=row,
            usage=usage,
            forecast=foreseen.get((row.budget_id, row.subject, row.name)),
            team_per_day=team_per_day,
        )
        for row, usage in zip(rows, usages, strict=True)
    ]


def burn_downs(view: View, team: Team, found: Sequence[Standing]) -> list[Chart]:
    """A chart for each of the team's first budgets that run for longer than a day."""
    charted = [each for each in found if each.budget.scope == "team" and each.budget.period != "day"]
    return [_chart(view, team, each) for each in charted[:_CHARTS_SHOWN]]


def _forecasts(view: View, rows: Sequence[BudgetPeriod]) -> dict[tuple[int, str, str], Forecast]:
    found = visible(Forecast.objects.all(), view.person).filter(
        budget__in={row.budget_id for row in rows}, subject__in={row.subject for row in rows}, ends_at_ms__gt=now_ms()
    )
    return {(row.budget_id, row.subject, row.period): row for row in found}


def _chart(view: View, team: Team, standing: Standing) -> Chart:
    days = _days(view, standing)
    used = _used(view, team, standing, days)
    series = [Series(name="Used so far", values=used)]
    known = next((value for value in reversed(used) if value is not None), 0)
    if standing.per_day is not None:
        values = _line(view, days, known, standing.per_day, standing.cap)
        series.append(Series(name="At the present rate", values=values, colour=COLOURS[1], dashed=True))
    series.append(Series(name="Budget", values=[standing.cap] * len(days), colour=CAP_COLOUR, dashed=True))
    budget = standing.budget
    return Chart(
        question=f"Will “{budget.name}” last?",
        answer=answer_of(view, standing),
        kind="line",
        unit=USD if budget.unit == "nusd" else Unit(label=budget.unit, exact=int, text=lambda value: f"{value:,}"),
        labels=[f"{day:%b} {day.day}" for day in days],
        series=series,
    )


def answer_of(view: View, standing: Standing) -> str:
    """What becomes of a budget, in words."""
    unit, usage = standing.budget.unit, standing.usage
    if usage is None:
        return "Redis cannot be reached, so what is spent right now is not known."
    if usage.spent is None or usage.held is None:
        return "It is not live yet."
    spent = f"{amount_text_rounded(usage.spent, unit)} of {amount_text_rounded(usage.cap, unit)} is used."
    if usage.spent + usage.held >= usage.cap:
        return f"{spent} It is used up{_then(standing.budget)}"
    if standing.per_day is None:
        return f"{spent} Too little is known to foresee when it ends."
    rate = f"At {amount_text_rounded(standing.per_day, unit)} a day"
    on = standing.ends_on(view.today, view.organization.zone)
    if on is None:
        return f"{spent} {rate} it lasts until the end of its {standing.budget.period}."
    return f"{spent} {rate} it is used up on {on:%A}, {on.day} {on:%B}."


def amount_text_rounded(amount: int, unit: Any) -> str:
    return USD.text(amount) if unit == "nusd" else amount_text(amount, unit)


def _then(budget: Budget) -> str:
    if budget.shadow or not budget.hard:
        return ", which only warns."
    return ": calls wait, then they are refused." if budget.queue_ms else ": calls are refused."


def _days(view: View, standing: Standing) -> list[date]:
    """The days that are shown: those of the period, as far as they are near."""
    row = standing.period
    start, end = view.days_of(Period(name=row.name, start_ms=row.starts_at_ms, end_ms=min(row.ends_at_ms, _FAR_MS)))
    first, last = max(start, view.today - _LONGEST_BEFORE), min(end, view.today + _LONGEST_AFTER)
    return [first + timedelta(days=number) for number in range((last - first).days)]


_FAR_MS: Final = 4_000_000_000_000


def _used(view: View, team: Team, standing: Standing, days: Sequence[date]) -> list[int | None]:
    """What was used up to the end of each day; None for days to come."""
    budget, row = standing.budget, standing.period
    start, _ = view.days_of(Period(name=row.name, start_ms=row.starts_at_ms, end_ms=row.starts_at_ms))
    rows = visible(DayRollup.objects.all(), view.person).filter(
        organization=team.organization.slug, team=team.slug, day__gte=start, day__lte=view.today
    )
    if budget.model is not None:
        rows = rows.filter(request_model=budget.model.name)
    if budget.provider is not None:
        rows = rows.filter(provider=budget.provider.name)
    if budget.tag is not None:
        rows = rows.filter(tags__contains=[budget.tag])
    by_day = dict(rows.values_list("day").annotate(total=_AMOUNTS[budget.unit]).order_by("day"))
    before = sum(amount for day, amount in by_day.items() if day < days[0])
    totals = list(accumulate((by_day.get(day, 0) for day in days), initial=before))[1:]
    return [total if day <= view.today else None for day, total in zip(days, totals, strict=True)]


def _line(view: View, days: Sequence[date], known: int, per_day: int, cap: int) -> list[int | None]:
    """From today on, as far as the cap."""
    gone = [(day - view.today).days for day in days]
    return [
        known + per_day * number if number >= 0 and (number == 0 or known + per_day * (number - 1) < cap) else None
        for number in gone
    ]
