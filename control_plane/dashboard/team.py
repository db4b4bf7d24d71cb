"""The home page of who owns a team: will its budgets last, who spends what, what was refused, its keys and limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet

from control_plane.amounts import NUSD_PER_CENT, rounded_usd_text
from control_plane.dashboard.burn_down import burn_downs, standings
from control_plane.dashboard.charts import USD, Chart, by_colour
from control_plane.dashboard.team_tables import (
    REFUSED_DAYS,
    budget_table,
    days_of_team,
    key_table,
    limit_table,
    refused_calls,
    refused_table,
    user_table,
)
from control_plane.dashboard.view import View
from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import TeamDay
from control_plane.ledger.team_months import RATE_DAYS, Month, spend_of_days, spend_of_models
from control_plane.rights.roles import TEAM_ROLES
from control_plane.rights.scope import visible
from control_plane.teams.models import Team

_TEAMS_IN_CHOICE: Final = 100


def team_page(view: View) -> dict[str, Any]:
    """What the template `admin/home/team.html` shows of the team that is asked about, by default one's own."""
    teams = visible(Team.objects.select_related("organization"), view.person).filter(organization=view.organization)
    choices = list(teams[: _TEAMS_IN_CHOICE + 1])
    team = _chosen(view, teams, choices)
    content: dict[str, Any] = {
        "team": team,
        "teams": choices if 1 < len(choices) <= _TEAMS_IN_CHOICE else [],
        "asks_for_slug": len(choices) > _TEAMS_IN_CHOICE,
        "no_such_team": view.asked.get("team", "") if team is None else "",
        "kept": list(view.kept.items()),
    }
    return content | _content(view, team) if team else content


def _chosen(view: View, teams: QuerySet[Team], choices: list[Team]) -> Team | None:
    if asked := view.asked.get("team"):
        return teams.filter(slug=asked.replace("\0", "")).first()
    for role in TEAM_ROLES:
        slugs = view.person.teams[role].slugs.get(view.organization.slug) if role in view.person.teams else None
        if slugs:
            return teams.filter(slug__in=slugs).first()
    return choices[0] if choices else None


def _content(view: View, team: Team) -> dict[str, Any]:
    keys = visible(VirtualKey.objects.all(), view.person).filter(team=team)
    month = view.month_of(view.periods[0])
    days = visible(TeamDay.objects.all(), view.person).filter(team=team.slug)
    spent_nusd = sum(spend_of_days(days, team.organization.slug, month.days).values())
    week_nusd = sum(spend_of_days(days, team.organization.slug, month.rate_days).values())
    found = standings(view, team, keys, team_per_day=_cents(week_nusd // RATE_DAYS) or None)
    return {
        "cards": _cards(month, spent_nusd, week_nusd, keys, refused_calls(view, team)),
        "charts": [*burn_downs(view, team, found), _model_chart(view, team)],
        "tables": [
            budget_table(view, found),
            refused_table(view, team),
            key_table(view, team, keys),
            user_table(view, team),
            limit_table(view, team),
        ],
    }


def _cents(amount_nusd: int) -> int:
    """An estimate is no more exact than that."""
    return amount_nusd // NUSD_PER_CENT * NUSD_PER_CENT


def _cards(
    month: Month, spent_nusd: int, week_nusd: int, keys: QuerySet[Any], refused: int
) -> list[tuple[str, str, str]]:
    foreseen = rounded_usd_text(month.foreseen_nusd(spent_nusd, week_nusd))
    return [
        ("Spent", rounded_usd_text(spent_nusd), "so far this month"),
        ("Foreseen", foreseen, f"at the month's end, at the rate of the last {RATE_DAYS} days"),
        ("Refused", f"{refused:,}", f"calls in {REFUSED_DAYS} days"),
        ("Active keys", f"{keys.filter(revoked_at=None).count():,}", "can call"),
    ]


def _model_chart(view: View, team: Team) -> Chart:
    """Day by day what each model has cost this month."""
    start, _ = view.month_of(view.periods[0]).days
    days = [start + timedelta(days=number) for number in range((view.today - start).days + 1)]
    by_model: dict[str, list[int]] = {}
    rows = spend_of_models(days_of_team(view, team), team.organization.slug, (days[0], days[-1] + timedelta(days=1)))
    for day, model, amount in rows:
        by_model.setdefault(model, [0] * len(days))[(day - start).days] = amount
    dearest = max(by_model, key=lambda model: sum(by_model[model]), default=None)
    return Chart(
        question="Which models cost how much?",
        answer=f"This month {dearest} cost most: {rounded_usd_text(sum(by_model[dearest]))}."
        if dearest is not None
        else "Nothing was spent this month.",
        kind="bar",
        unit=USD,
        labels=[f"{day:%b} {day.day}" for day in days],
        series=by_colour(by_model),
        stacked=True,
    )
