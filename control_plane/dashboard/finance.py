"""The home page of who watches the money: what teams and cost centres spend against what was planned for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, Final

from control_plane.amounts import rounded_usd_text
from control_plane.dashboard.charts import CAP_COLOUR, COLOURS, USD, Chart, Series
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
from control_plane.tables import NOTHING, Asked, Cell, Column, Line, Listed, Table, count, money, used
from kong_plugins.llm.windows import Period

_MONEY_COLUMNS: Final = (
    Column("Spent", "spent_usd", is_number=True),
    Column("Month end", "month_end_usd", is_number=True),
    Column("Budget", "budget_usd", is_number=True),
    Column("Used", "used_percent", is_number=True),
)
_TEAM_COLUMNS: Final = (
    Column("Team", "name"),
    Column("Cost centre", "cost_centre", is_choice=True),
    *_MONEY_COLUMNS,
    Column("Calls", "calls", is_number=True),
    *(Column(name, name, only_in_file=True) for name in ("calls_of_unknown_cost", "team", "month")),
)
_CENTRE_COLUMNS: Final = (
    Column("Cost centre", "cost_centre"),
    Column("Teams", "teams", is_number=True),
    *_MONEY_COLUMNS,
    Column("Over 90 %", "teams_over_90_percent", is_number=True),
    *(Column(name, name, only_in_file=True) for name in ("calls", "calls_of_unknown_cost", "month")),
)
_NO_CENTRE: Final = "(none)"


@dataclass(frozen=True)
class TeamMonths:
    """The teams of an organization in a month, sorted and found by the database: there can be thousands."""

    view: View
    month: Month
    centres: Sequence[str]

    def lines(self, columns: Sequence[Column], asked: Asked, *, most: int | None, offset: int) -> Sequence[Line]:
        centre = asked.chosen.get("cost_centre")
        return [
            self._line(line)
            for line in team_lines(
                self.month,
                order=asked.order,
                search=asked.search,
                cost_centre="" if centre == _NO_CENTRE else centre,
                most=most,
                offset=offset,
            )
        ]

    def choices(self, columns: Sequence[Column], column: Column) -> Sequence[str]:
        return self.centres

    def _line(self, line: TeamLine) -> Line:
        return (
            Cell(line.name, self.view.link(page="team", team=line.team)),
            Cell(line.cost_centre or NOTHING),
            *_money(self.month, line),
            count(line.requests),
            *(count(line.unpriced), Cell(line.team), Cell(self.month.name)),
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
        "tables": [_centre_table(view, month, centres), _team_table(view, month, centres)],
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
        "link": view.link(page="finance", month=period.name),
        "active": period.name == view.period.name,
    }


def _centre_table(view: View, month: Month, centres: list[CostCentreLine]) -> Table:
    lines = [
        (
            Cell(line.cost_centre or _NO_CENTRE),
            count(line.teams),
            *_money(month, line),
            count(line.nearly_used),
            *(count(line.requests), count(line.unpriced), Cell(month.name)),
        )
        for line in centres
    ]
    return Table(
        name="centres",
        title="By cost centre",
        columns=_CENTRE_COLUMNS,
        source=Listed(lines),
        nothing="No cost centre has such a name." if lines else "There are no teams yet.",
        query=view.asked,
        export=view.file_of("finance", "centres"),
        search_label="Cost centre",
        lines_a_page=10,
    )


def _team_table(view: View, month: Month, centres: list[CostCentreLine]) -> Table:
    names = sorted(line.cost_centre or _NO_CENTRE for line in centres)
    return Table(
        name="teams",
        title="By team",
        columns=_TEAM_COLUMNS,
        source=TeamMonths(view, month, names),
        nothing="No team has such a name." if centres else "There are no teams yet.",
        query=view.asked,
        export=view.file_of("finance", "teams"),
        usual="-spent_usd",
        search_label="Team or cost centre",
    )


def _money(month: Month, line: TeamLine | CostCentreLine) -> tuple[Cell, ...]:
    cap = line.cap_nusd
    return (
        money(line.spent_nusd),
        money(_foreseen(month, line)),
        money(cap),
        used(line.spent_nusd * 100 // cap if cap else None),
    )


def _foreseen(month: Month, line: TeamLine | CostCentreLine) -> int:
    return line.spent_nusd if month.is_over else month.foreseen_nusd(line.spent_nusd, line.week_nusd)
