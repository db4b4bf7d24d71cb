"""The tables of a team's home page: its budgets, what was refused, its keys, users and limits."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Max, Q, QuerySet, Sum
from django.urls import reverse
from django.utils.http import urlencode

from control_plane.budgets.models import Limit
from control_plane.dashboard.burn_down import Standing, amount_text_rounded, answer_of
from control_plane.dashboard.limits import LimitNow, limits_now
from control_plane.dashboard.view import View
from control_plane.ledger.models import DayRollup
from control_plane.ledger.periods import SPANS, Days, day_start
from control_plane.ledger.refusals import refusals
from control_plane.ledger.spend import CALLS, CHARGES
from control_plane.rights.scope import visible
from control_plane.tables import NOTHING, Cell, Column, Listed, Select, Table, count, money, used
from control_plane.teams.models import Team

REFUSED_DAYS: Final = 7
_LINES_A_PAGE: Final = 10
_LIMITS_LISTED: Final = 200


class Spent(NamedTuple):
    """What a key or a user has spent, and on which day last."""

    subject: str
    amount_nusd: int
    calls: int
    last_day: date


def budget_table(view: View, found: list[Standing]) -> Table:
    return Table(
        name="budgets",
        title="Budgets",
        columns=(
            *(Column("Budget", "budget"), Column("For", "for", is_choice=True)),
            *(Column("Cap", "cap", is_number=True), Column("Used", "used_percent", is_number=True)),
            Column("What becomes of it", "answer"),
        ),
        source=Listed(
            [
                (
                    Cell(each.budget.name, reverse("admin:budgets_budget_change", args=[each.budget.pk])),
                    Cell("the team" if each.budget.scope == "team" else f"key {each.period.subject}"),
                    Cell(f"{amount_text_rounded(each.cap, each.budget.unit)} a {each.budget.period}", value=each.cap),
                    used(each.usage.used_percent if each.usage else None),
                    Cell(answer_of(view, each)),
                )
                for each in found
            ]
        ),
        nothing="No budget is like that." if found else "The team has no budget.",
        query=view.asked,
        export=view.file_of("team", "budgets"),
        more=Cell("All budgets", reverse("admin:budgets_budget_changelist")),
    )


def refused_calls(view: View, team: Team) -> int:
    """How many calls of the team were refused of late."""
    start = view.today - timedelta(days=REFUSED_DAYS - 1)
    return sum(calls for _, calls in _refused(view, team, (start, view.today + timedelta(days=1))))


def refused_table(view: View, team: Team) -> Table:
    span = _span(view, "refused", usual="week")
    query = urlencode({"organization": team.organization.slug, "span": span.chosen, "refusals-team": team.slug})
    return Table(
        name="refused",
        title="What was refused, and why",
        columns=(Column("Limit or budget", "rule"), Column("Calls", "calls", is_number=True)),
        source=Listed([(Cell(rule), count(calls)) for rule, calls in _refused(view, team, _days_of(view, span))]),
        nothing="No call was refused.",
        query=view.asked,
        export=view.file_of("team", "refused"),
        selects=[span],
        search_label="Limit or budget",
        lines_a_page=_LINES_A_PAGE,
        more=Cell("All refusals", f"{reverse('admin:ledger_refusalcount_changelist')}?{query}"),
    )


def key_table(view: View, team: Team, keys: QuerySet[Any]) -> Table:
    span = _span(view, "keys", usual="month")
    spent = {row.subject: row for row in _spent_by(view, team, "key", _days_of(view, span))}
    used_keys = {key.pk: key for key in keys.filter(pk__in=spent)}
    idle = keys.filter(revoked_at=None).exclude(pk__in=spent)
    lines = [(used_keys.get(key_id), key_id, row) for key_id, row in spent.items()]
    return Table(
        name="keys",
        title="Keys",
        columns=(
            *(Column("Key", "name"), Column("State", "state", is_choice=True)),
            *(Column("Spent", "spent_usd", is_number=True), Column("Calls", "calls", is_number=True)),
            *(Column("Last used", "last_used"), Column("id", "key", only_in_file=True)),
        ),
        source=Listed(
            [
                (
                    Cell(key.name, reverse("admin:keys_virtualkey_change", args=[key.pk]))
                    if key
                    else Cell(key_id or NOTHING),
                    Cell(NOTHING if key is None else "active" if key.active else "revoked"),
                    money(row.amount_nusd if row else 0),
                    count(row.calls if row else 0),
                    Cell(row.last_day.isoformat() if row else "not in these days"),
                    Cell(key_id),
                )
                for key, key_id, row in [*lines, *((key, key.pk, None) for key in idle)]
            ]
        ),
        nothing="The team has no such key.",
        query=view.asked,
        export=view.file_of("team", "keys"),
        selects=[span],
        search_label="Key",
        lines_a_page=_LINES_A_PAGE,
        more=Cell("All keys of the team", f"{reverse('admin:keys_virtualkey_changelist')}?team__id__exact={team.pk}"),
    )


def user_table(view: View, team: Team) -> Table:
    span = _span(view, "users", usual="month")
    query = {"organization": team.organization.slug, "group_by": "user", "span": span.chosen}
    return Table(
        name="users",
        title="Users",
        columns=(
            *(Column("User", "user"), Column("Spent", "spent_usd", is_number=True)),
            *(Column("Calls", "calls", is_number=True), Column("Last used", "last_used")),
        ),
        source=Listed(
            [
                (
                    Cell(row.subject or "(none named)", value=row.subject),
                    money(row.amount_nusd),
                    count(row.calls),
                    Cell(row.last_day.isoformat()),
                )
                for row in _spent_by(view, team, "user", _days_of(view, span))
            ]
        ),
        nothing="Nobody like that has spent anything in these days.",
        query=view.asked,
        export=view.file_of("team", "users"),
        selects=[span],
        search_label="User",
        lines_a_page=_LINES_A_PAGE,
        more=Cell("All spend by user", f"{reverse('admin:ledger_hourrollup_changelist')}?{urlencode(query)}"),
    )


def limit_table(view: View, team: Team) -> Table:
    rows = visible(Limit.objects.select_related("model", "provider"), view.person).filter(
        organization=team.organization, active=True, scope="team", subject=team.slug
    )
    lines = [_limit_line(each) for each in limits_now(team, list(rows[:_LIMITS_LISTED]))]
    return Table(
        name="limits",
        title="Limits right now",
        columns=(
            *(Column("Limit", "limit"), Column("At most", "at_most"), Column("Of", "model", is_choice=True)),
            *(Column("In use", "in_use", is_number=True), Column("Used", "used_percent", is_number=True)),
        ),
        source=Listed(lines),
        nothing="No limit is like that." if lines else "The team has no limits.",
        query=view.asked,
        export=view.file_of("team", "limits"),
        lines_a_page=_LINES_A_PAGE,
        more=Cell("All limits", reverse("admin:budgets_limit_changelist")),
    )


def days_of_team(view: View, team: Team) -> QuerySet[Any]:
    """The sums of the team's days that the person may see."""
    rows = visible(DayRollup.objects.all(), view.person)
    return rows.filter(CHARGES, organization=team.organization.slug, team=team.slug)


def _span(view: View, table: str, *, usual: str) -> Select:
    """The days that a table is about."""
    asked = view.asked.get(f"{table}-span", "")
    options = [(name, label) for name, (label, _) in SPANS.items()]
    return Select("span", "Days", options, asked if asked in SPANS else usual)


def _days_of(view: View, span: Select) -> Days:
    """A month is one of the organization's own calendar."""
    months = {"month": 0, "last-month": 1}
    if span.chosen in months:
        return view.days_of(view.periods[months[span.chosen]])
    return SPANS[span.chosen][1](view.today)


def _refused(view: View, team: Team, days: Days) -> list[tuple[str, int]]:
    """Each rule, and how many calls of the team it has refused, the most frequent first."""
    start, end = (day_start(day, view.organization.zone) for day in days)
    rows = refusals(team.organization.slug, start=start, end=end, teams=[team.slug])
    return [(row.rule, row.calls) for row in rows]


def _spent_by(view: View, team: Team, column: str, days: Days) -> list[Spent]:
    """The dearest first."""
    rows = days_of_team(view, team).filter(day__gte=days[0], day__lt=days[1]).values_list(column)
    sums = rows.annotate(
        amount=Sum("amount_nusd"), calls=Sum("requests", default=0, filter=CALLS), last=Max("day", filter=CALLS)
    )
    return [Spent(*row) for row in sums.exclude(Q(last=None)).order_by("-amount", column)]


def _limit_line(now: LimitNow) -> tuple[Cell, ...]:
    limit = now.limit
    window = "at once" if limit.unit == "concurrency" else f"{limit.unit} in {limit.window_ms // 1000:,} s"
    percent = None if now.used is None or not limit.amount else now.used * 100 // limit.amount
    return (
        Cell(limit.name, reverse("admin:budgets_limit_change", args=[limit.pk])),
        Cell(f"{limit.amount:,} {window}"),
        Cell(limit.model.name if limit.model else limit.provider.name if limit.provider else limit.tag or "every call"),
        Cell("not known") if now.used is None else count(now.used),
        used(percent),
    )
