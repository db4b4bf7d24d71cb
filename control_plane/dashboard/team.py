"""The home page of who owns a team: will its budgets last, who spends what, what was refused, its keys and limits."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Max, Q, QuerySet, Sum
from django.urls import reverse
from django.utils.http import urlencode

from control_plane.amounts import NUSD_PER_CENT, rounded_usd_text
from control_plane.budgets.models import Limit
from control_plane.dashboard.burn_down import Standing, amount_text_rounded, answer_of, burn_downs, standings
from control_plane.dashboard.charts import USD, Chart, by_colour
from control_plane.dashboard.limits import LimitNow, limits_now
from control_plane.dashboard.tables import Cell, Column, Table
from control_plane.dashboard.view import View
from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import DayRollup, TeamDay
from control_plane.ledger.periods import day_start
from control_plane.ledger.refusals import refusals
from control_plane.ledger.spend import CALLS, CHARGES
from control_plane.ledger.team_months import RATE_DAYS, Month, spend_of_days, spend_of_models
from control_plane.rights.roles import TEAM_ROLES
from control_plane.rights.scope import visible
from control_plane.teams.models import Team

_TEAMS_IN_CHOICE: Final = 100
_LINES_SHOWN: Final = 10
_LIMITS_SHOWN: Final = 20
_REFUSED_DAYS: Final = 7


class Spent(NamedTuple):
    """What a key or a user has spent, and on which day last."""

    subject: str
    amount_nusd: int
    calls: int
    last_day: date


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
        "kept": [(name, value) for name, value in view.asked.items() if name != "team"],
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
    refused = _refused_table(view, team)
    return {
        "cards": _cards(month, spent_nusd, week_nusd, keys, refused),
        "charts": [*burn_downs(view, team, found), _model_chart(view, team)],
        "tables": [
            _budget_table(view, found),
            refused,
            _key_table(view, team, keys),
            _user_table(view, team),
            _limit_table(view, team, keys),
        ],
    }


def _days(view: View, team: Team) -> QuerySet[Any]:
    rows = visible(DayRollup.objects.all(), view.person)
    return rows.filter(CHARGES, organization=team.organization.slug, team=team.slug)


def _cents(amount_nusd: int) -> int:
    """An estimate is no more exact than that."""
    return amount_nusd // NUSD_PER_CENT * NUSD_PER_CENT


def _cards(
    month: Month, spent_nusd: int, week_nusd: int, keys: QuerySet[Any], refused: Table
) -> list[tuple[str, str, str]]:
    foreseen = rounded_usd_text(month.foreseen_nusd(spent_nusd, week_nusd))
    calls = sum(int(line[-1].text.replace(",", "")) for line in refused.lines)
    return [
        ("Spent", rounded_usd_text(spent_nusd), "so far this month"),
        ("Foreseen", foreseen, f"at the month's end, at the rate of the last {RATE_DAYS} days"),
        ("Refused", f"{calls:,}", f"calls in {_REFUSED_DAYS} days"),
        ("Active keys", f"{keys.filter(revoked_at=None).count():,}", "can call"),
    ]


def _model_chart(view: View, team: Team) -> Chart:
    """Day by day what each model has cost this month."""
    start, _ = view.month_of(view.periods[0]).days
    days = [start + timedelta(days=number) for number in range((view.today - start).days + 1)]
    by_model: dict[str, list[int]] = {}
    rows = spend_of_models(_days(view, team), team.organization.slug, (days[0], days[-1] + timedelta(days=1)))
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


def _budget_table(view: View, found: list[Standing]) -> Table:
    return Table(
        title="Budgets",
        columns=(
            *(Column("Budget"), Column("For"), Column("Cap", is_number=True)),
            *(Column("Used", is_number=True), Column("What becomes of it")),
        ),
        lines=[
            (
                Cell(each.budget.name, reverse("admin:budgets_budget_change", args=[each.budget.pk])),
                Cell("the team" if each.budget.scope == "team" else f"key {each.period.subject}"),
                Cell(f"{amount_text_rounded(each.cap, each.budget.unit)} a {each.budget.period}"),
                Cell("–", percent=each.usage.used_percent if each.usage else None),
                Cell(answer_of(view, each)),
            )
            for each in found
        ],
        nothing="The team has no budget.",
        more=Cell("All budgets", reverse("admin:budgets_budget_changelist")),
    )


def _refused_table(view: View, team: Team) -> Table:
    start = day_start(view.today - timedelta(days=_REFUSED_DAYS - 1), view.organization.zone)
    rows = refusals(team.organization.slug, start=start, end=None, teams=[team.slug])
    query = urlencode({"organization": team.organization.slug, "span": "week"})
    return Table(
        title=f"Refused in {_REFUSED_DAYS} days, and why",
        columns=(Column("Limit or budget"), Column("Calls", is_number=True)),
        lines=[(Cell(row.rule), Cell(f"{row.calls:,}")) for row in rows],
        nothing="No call was refused.",
        more=Cell("All refusals", f"{reverse('admin:ledger_refusalcount_changelist')}?{query}"),
    )


def _spent_by(view: View, team: Team, column: str) -> list[Spent]:
    """The dearest of this month."""
    start, end = view.month_of(view.periods[0]).days
    rows = _days(view, team).filter(day__gte=start, day__lt=end).values_list(column)
    sums = rows.annotate(
        amount=Sum("amount_nusd"), calls=Sum("requests", default=0, filter=CALLS), last=Max("day", filter=CALLS)
    )
    return [Spent(*row) for row in sums.exclude(Q(last=None)).order_by("-amount", column)[:_LINES_SHOWN]]


def _key_table(view: View, team: Team, keys: QuerySet[Any]) -> Table:
    spent = {row.subject: row for row in _spent_by(view, team, "key")}
    used = {key.pk: key for key in keys.filter(pk__in=spent)}
    idle = list(keys.filter(revoked_at=None).exclude(pk__in=spent)[: _LINES_SHOWN - len(spent)])
    lines = [(used.get(key_id), key_id, row) for key_id, row in spent.items()] + [(key, key.pk, None) for key in idle]
    return Table(
        title="Keys this month",
        columns=(
            *(Column("Key"), Column("State"), Column("Spent", is_number=True), Column("Calls", is_number=True)),
            Column("Last used"),
        ),
        lines=[
            (
                Cell(key.name, reverse("admin:keys_virtualkey_change", args=[key.pk])) if key else Cell(key_id or "–"),
                Cell("–" if key is None else "active" if key.active else "revoked"),
                Cell(rounded_usd_text(row.amount_nusd if row else 0)),
                Cell(f"{row.calls if row else 0:,}"),
                Cell(row.last_day.isoformat() if row else "not this month"),
            )
            for key, key_id, row in lines
        ],
        nothing="The team has no keys.",
        more=Cell("All keys of the team", f"{reverse('admin:keys_virtualkey_changelist')}?team__id__exact={team.pk}"),
    )


def _user_table(view: View, team: Team) -> Table:
    query = urlencode({"organization": team.organization.slug, "group_by": "user", "span": "month"})
    return Table(
        title="Users this month",
        columns=(Column("User"), Column("Spent", is_number=True), Column("Calls", is_number=True), Column("Last used")),
        lines=[
            (
                Cell(row.subject or "(none named)"),
                Cell(rounded_usd_text(row.amount_nusd)),
                Cell(f"{row.calls:,}"),
                Cell(row.last_day.isoformat()),
            )
            for row in _spent_by(view, team, "user")
        ],
        nothing="Nobody has spent anything this month.",
        more=Cell("All spend by user", f"{reverse('admin:ledger_hourrollup_changelist')}?{query}"),
    )


def _limit_table(view: View, team: Team, keys: QuerySet[Any]) -> Table:
    rows = visible(Limit.objects.select_related("model", "provider"), view.person).filter(
        organization=team.organization, active=True, scope="team", subject=team.slug
    )
    return Table(
        title="Limits right now",
        columns=(Column("Limit"), Column("At most"), Column("In use", is_number=True), Column("Used", is_number=True)),
        lines=[_limit_line(each) for each in limits_now(team, list(rows[:_LIMITS_SHOWN]))],
        nothing="The team has no limits.",
        more=Cell("All limits", reverse("admin:budgets_limit_changelist")),
    )


def _limit_line(now: LimitNow) -> tuple[Cell, ...]:
    limit = now.limit
    window = "at once" if limit.unit == "concurrency" else f"{limit.unit} in {limit.window_ms // 1000:,} s"
    percent = None if now.used is None or not limit.amount else now.used * 100 // limit.amount
    return (
        Cell(limit.name, reverse("admin:budgets_limit_change", args=[limit.pk])),
        Cell(f"{limit.amount:,} {window}"),
        Cell("not known" if now.used is None else f"{now.used:,}"),
        Cell("–", percent=percent),
    )
