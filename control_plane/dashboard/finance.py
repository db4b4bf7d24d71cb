"""The home page of who watches the money: what teams and cost centres spend against what was planned for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, Final

from django.urls import reverse
from django.utils.http import urlencode

from control_plane.amounts import rounded_usd_text, usd_text
from control_plane.dashboard.charts import CAP_COLOUR, COLOURS, USD, Chart, Series
from control_plane.dashboard.tables import LINES_A_PAGE, Cell, Column, Table, asked_from
from control_plane.dashboard.view import View
from control_plane.ledger.models import ModelDay
from control_plane.ledger.periods import Days
from control_plane.ledger.team_months import (
    CostCentreLine,
    Month,
    TeamLine,
    cost_centre_lines,
    spend_of_days,
    team_lines,
)
from control_plane.rights.scope import visible
from kong_plugins.llm.windows import Period

_TEAM_COLUMNS: Final = (
    Column("Team", "name"),
    Column("Cost centre", "cost_centre"),
    Column("Spent", "spent", is_number=True),
    Column("Month end", None, is_number=True),
    Column("Budget", "budget", is_number=True),
    Column("Used", "used", is_number=True),
    Column("Calls", "requests", is_number=True),
)
_CENTRE_COLUMNS: Final = (
    Column("Cost centre"),
    Column("Teams", is_number=True),
    Column("Spent", is_number=True),
    Column("Month end", is_number=True),
    Column("Budget", is_number=True),
    Column("Used", is_number=True),
    Column("Over 90 %", is_number=True),
)
EXPORT_COLUMNS: Final = (
    *("month", "team", "name", "cost_centre", "spent_usd", "month_end_usd", "budget_usd"),
    *("calls", "calls_of_unknown_cost"),
)


def finance_page(view: View) -> dict[str, Any]:
    """What the template `admin/home/finance.html` shows."""
    month, centres = view.month, cost_centre_lines(view.month)
    year: Days = (view.days_of(view.periods[-1])[0], view.today + timedelta(days=1))
    by_day = spend_of_days(visible(ModelDay.objects.all(), view.person), view.organization.slug, year)
    periods = _periods(view, by_day)
    return {
        "cards": _cards(month, centres),
        "unpriced": sum(line.unpriced for line in centres),
        "charts": [_course(month, centres, by_day), _months(view, periods, by_day)],
        "months": [_month_choice(view, period) for period in periods],
        "tables": [_centre_table(month, centres), _team_table(view, month)],
    }


def export_rows(month: Month) -> Iterator[dict[str, Any]]:
    """Every team's month, for a file."""
    for line in team_lines(month, order="name"):
        yield {
            "month": month.name,
            "team": line.team,
            "name": line.name,
            "cost_centre": line.cost_centre,
            "spent_usd": usd_text(line.spent_nusd),
            "month_end_usd": usd_text(_foreseen(month, line)),
            "budget_usd": "" if line.cap_nusd is None else usd_text(line.cap_nusd),
            "calls": line.requests,
            "calls_of_unknown_cost": line.unpriced,
        }


def _cards(month: Month, centres: list[CostCentreLine]) -> list[tuple[str, str, str]]:
    spent, foreseen = sum(line.spent_nusd for line in centres), sum(_foreseen(month, line) for line in centres)
    planned = sum(line.cap_nusd or 0 for line in centres)
    without, nearly = sum(line.without_cap for line in centres), sum(line.nearly_used for line in centres)
    return [
        ("Spent", rounded_usd_text(spent), "in the whole month" if month.is_over else "so far this month"),
        _last_card(planned - spent, planned) if month.is_over else ("Foreseen", *_against(foreseen, planned)),
        ("Budgets", rounded_usd_text(planned), f"of the teams; {without:,} have none"),
        ("Teams over 90 %", f"{nearly:,}", "of their monthly budget"),
    ]


def _against(foreseen: int, planned: int) -> tuple[str, str]:
    rate = "at the month's end, at the rate of the last 7 days"
    if not planned:
        return rounded_usd_text(foreseen), rate
    return rounded_usd_text(foreseen), f"{rate}: {foreseen * 100 // planned} % of the budgets"


def _last_card(left: int, planned: int) -> tuple[str, str, str]:
    return ("Left", rounded_usd_text(left) if planned else "–", "of the budgets")


def _periods(view: View, by_day: dict[date, int]) -> list[Period]:
    """This month and those before it, as far back as anything was spent."""
    first = min(by_day, default=view.today)
    return [period for period in view.periods if view.days_of(period)[1] > first]


def _course(month: Month, centres: list[CostCentreLine], by_day: dict[date, int]) -> Chart:
    """Day by day what was spent so far, and where it leads to."""
    days = [month.days[0] + timedelta(days=number) for number in range((month.days[1] - month.days[0]).days)]
    spent = [
        total if day <= month.today else None
        for day, total in zip(days, accumulate(by_day.get(day, 0) for day in days), strict=True)
    ]
    planned = sum(line.cap_nusd or 0 for line in centres)
    foreseen = sum(_foreseen(month, line) for line in centres)
    series = [Series(name="Spent so far", values=spent)]
    if not month.is_over:
        known = next((value for value in reversed(spent) if value is not None), 0)
        series.append(Series(name="Foreseen", values=_straight(days, month, known, foreseen), dashed=True))
    if planned:
        series.append(Series(name="All budgets", values=[planned] * len(days), colour=CAP_COLOUR, dashed=True))
    end = rounded_usd_text(foreseen)
    answer = f"It has cost {end}." if month.is_over else f"At the rate of the last 7 days it ends at {end}."
    return Chart(
        question="Does the month stay within the budgets?",
        answer=f"{answer} The budgets of the teams add up to {rounded_usd_text(planned)}." if planned else answer,
        kind="line",
        unit=USD,
        labels=[f"{day:%b} {day.day}" for day in days],
        series=series,
    )


def _straight(days: list[date], month: Month, known: int, foreseen: int) -> list[int | None]:
    """A line from what is spent today to the end of the month."""
    left = max(1, (month.days[1] - month.today).days - 1)
    gone = [(day - month.today).days for day in days]
    return [None if number < 0 else known + (foreseen - known) * number // left for number in gone]


def _months(view: View, periods: list[Period], by_day: dict[date, int]) -> Chart:
    """The months that are over, and this one so far."""
    shown = list(reversed(periods))
    spent = [_within(by_day, view.days_of(period)) for period in shown]
    so_far = f"{rounded_usd_text(spent[-1])} so far in this month"
    return Chart(
        question="How has spending developed from month to month?",
        answer=f"{rounded_usd_text(spent[-2])} in the month before, {so_far}." if len(spent) > 1 else f"{so_far}.",
        kind="bar",
        unit=USD,
        labels=[view.title_of(period) for period in shown],
        series=[Series(name="Spent", values=spent, colour=COLOURS[0])],
    )


def _within(by_day: dict[date, int], days: Days) -> int:
    return sum(amount for day, amount in by_day.items() if days[0] <= day < days[1])


def _month_choice(view: View, period: Period) -> dict[str, Any]:
    return {
        "title": view.title_of(period),
        "link": view.link(month=period.name, line_page=None),
        "active": period.name == view.period.name,
    }


def _centre_table(month: Month, centres: list[CostCentreLine]) -> Table:
    return Table(
        title="By cost centre",
        columns=_CENTRE_COLUMNS,
        lines=[
            (
                Cell(line.cost_centre or "(none)"),
                Cell(f"{line.teams:,}"),
                *_money(month, line),
                Cell(f"{line.nearly_used:,}"),
            )
            for line in centres
        ],
        nothing="There are no teams yet.",
    )


def _team_table(view: View, month: Month) -> Table:
    asked = asked_from(view, _TEAM_COLUMNS, usual="-spent")
    lines = team_lines(month, order=asked.order, search=asked.search, most=LINES_A_PAGE + 1, offset=asked.offset)
    return Table(
        title="By team",
        columns=_TEAM_COLUMNS,
        lines=[
            (
                Cell(line.name, view.link(page="team", team=line.team, sort=None, q=None, line_page=None)),
                Cell(line.cost_centre or "–"),
                *_money(month, line),
                Cell(f"{line.requests:,}"),
            )
            for line in lines
        ],
        nothing="No team has such a name." if asked.search else "There are no teams yet.",
        view=view,
        asked=asked,
        search_label="Team or cost centre",
        export=f"{reverse('team-months')}?{urlencode({'organization': view.organization.slug, 'month': month.name})}",
    )


def _money(month: Month, line: TeamLine | CostCentreLine) -> tuple[Cell, ...]:
    cap = line.cap_nusd
    return (
        Cell(rounded_usd_text(line.spent_nusd)),
        Cell(rounded_usd_text(_foreseen(month, line))),
        Cell("–" if cap is None else rounded_usd_text(cap)),
        Cell("–", percent=line.spent_nusd * 100 // cap if cap else None),
    )


def _foreseen(month: Month, line: TeamLine | CostCentreLine) -> int:
    return line.spent_nusd if month.is_over else month.foreseen_nusd(line.spent_nusd, line.week_nusd)
