"""The admin's first page: what this month has cost, by team and by day, and how full the budgets are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest
from django.utils import timezone

from control_plane.amounts import amount_text, rounded_usd_text, usd_text
from control_plane.budgets.models import Budget
from control_plane.budgets.selectors import Usage, current_usage
from control_plane.keys.models import VirtualKey
from control_plane.ledger.selectors import Spend, spend_by, spend_by_day
from control_plane.teams.models import Organization, Team
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.windows import Period, period_at

_NEARLY_FULL_PERCENT: Final = 75


@dataclass(frozen=True, kw_only=True)
class TeamLine:
    """One team's month, as the page shows it; `budget` is the fullest of its budgets."""

    team: Team
    spent: str
    requests: str
    budget: Usage | None
    budget_text: str


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback: adds what the template `admin/index.html` shows of every organization."""
    context["overviews"] = [_overview(organization) for organization in Organization.objects.all()]
    return context


def _overview(organization: Organization) -> dict[str, Any]:
    month = period_at("month", _now_ms(), organization.zone, fiscal_month_start=organization.fiscal_month_start)
    spends = _spend_by_team(organization, month)
    usages = _team_budgets(organization)
    lines = [_line(team, spends, usages) for team in Team.objects.filter(organization=organization)]
    fullest = [line.budget.used_percent for line in lines if line.budget and line.budget.used_percent is not None]
    return {
        "organization": organization,
        "lines": lines,
        "chart": _chart(organization, month),
        "redis_answers": usages is not None,
        "cards": [
            ("Spend this month", rounded_usd_text(sum(spend.amount_nusd for spend in spends.values()))),
            ("Calls this month", f"{sum(spend.requests for spend in spends.values()):,}"),
            ("Active keys", VirtualKey.objects.filter(team__organization=organization, revoked_at=None).count()),
            (f"Budgets used by {_NEARLY_FULL_PERCENT} % or more", sum(p >= _NEARLY_FULL_PERCENT for p in fullest)),
        ],
    }


def _spend_by_team(organization: Organization, month: Period) -> dict[str, Spend]:
    start = datetime.fromtimestamp(month.start_ms / 1000, organization.zone)
    rows = spend_by(organization.slug, "team", start=start, end=None, zone=organization.zone)
    return {spend.subject: spend for spend in rows}


def _team_budgets(organization: Organization) -> dict[str, tuple[Budget, Usage]] | None:
    """The fullest budget of each team by its slug; None where Redis does not answer."""
    fullest: dict[str, tuple[Budget, Usage]] = {}
    budgets = Budget.objects.filter(organization=organization, scope="team", active=True).select_related("organization")
    try:
        for budget in budgets:
            for usage in current_usage(budget):
                known = fullest.get(usage.subject)
                if known is None or (usage.used_percent or 0) > (known[1].used_percent or 0):
                    fullest[usage.subject] = budget, usage
    except StoreUnavailable:
        return None
    return fullest


def _line(team: Team, spends: dict[str, Spend], usages: dict[str, tuple[Budget, Usage]] | None) -> TeamLine:
    spend = spends.get(team.slug)
    budget, usage = (usages or {}).get(team.slug, (None, None))
    return TeamLine(
        team=team,
        spent=rounded_usd_text(spend.amount_nusd if spend else 0),
        requests=f"{spend.requests if spend else 0:,}",
        budget=usage,
        budget_text=f"{amount_text(budget.amount, budget.unit)} a {budget.period}" if budget else "none",
    )


def _chart(organization: Organization, month: Period) -> str:
    """The days of the month so far, as Chart.js wants them; text keeps the amounts exact."""
    start = datetime.fromtimestamp(month.start_ms / 1000, organization.zone).date()
    today = timezone.now().astimezone(organization.zone).date()
    days = [start + timedelta(days=offset) for offset in range((today - start).days + 1)]
    spent = spend_by_day(organization.slug, start=start, end=today + timedelta(days=1))
    bars = {
        "label": "USD",
        "data": [usd_text(spent.get(day, 0)) for day in days],
        "backgroundColor": "var(--color-primary-600)",
        "displayYAxis": True,
        "suffixYAxis": "$",
        "maxBarThickness": 24,
    }
    return json.dumps({"labels": [f"{day:%d %b}" for day in days], "datasets": [bars]})


def _now_ms() -> int:
    return int(timezone.now().timestamp() * 1000)
