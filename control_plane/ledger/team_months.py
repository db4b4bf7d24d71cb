"""What teams have used in a month, against what was planned for them. Days are as far as they are aggregated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from control_plane.amounts import NUSD_PER_CENT
from control_plane.ledger.periods import Days
from control_plane.ledger.statements import statement

if TYPE_CHECKING:
    from control_plane.teams.models import Organization

# So many of the newest whole days tell the rate at which a month goes on.
RATE_DAYS: Final = 7


@dataclass(frozen=True, kw_only=True)
class Month:
    """A month of an organization's calendar, `name` as budgets call it, seen from a day.

    `teams` are the slugs that are asked about; None for all.
    """

    organization: Organization
    name: str
    days: Days
    today: date
    teams: Sequence[str] | None = None

    @property
    def is_over(self) -> bool:
        return self.today >= self.days[1]

    @property
    def rate_days(self) -> Days:
        """The days that tell how a running month goes on: the last whole ones."""
        return self.today - timedelta(days=RATE_DAYS), self.today

    @property
    def days_left(self) -> int:
        """The whole days from tomorrow on."""
        return max(0, (self.days[1] - self.today).days - 1)

    def foreseen_nusd(self, spent_nusd: int, week_nusd: int) -> int:
        """What the month will have cost at its end, if each day from tomorrow on costs what those of the last week
        have; what is left of today counts for nothing. It is rounded down to a cent, if anything is added at all."""
        added = week_nusd * self.days_left // RATE_DAYS
        return (spent_nusd + added) // NUSD_PER_CENT * NUSD_PER_CENT if added else spent_nusd

    @property
    def asked(self) -> dict[str, Any]:
        """The parameters of `team_lines.sql`."""
        return {
            "organization": self.organization.slug,
            "organization_id": self.organization.pk,
            "start": self.days[0],
            "end": self.days[1],
            "week_start": self.rate_days[0],
            "week_end": self.rate_days[1],
            "period": self.name,
            "teams": None if self.teams is None else list(self.teams),
            "days_left": self.days_left,
        }


@dataclass(frozen=True, kw_only=True)
class TeamLine:
    """One team's month; `cap_nusd` is the lowest of its monthly budgets of money, None where it has none."""

    team: str
    name: str
    cost_centre: str
    spent_nusd: int
    requests: int
    unpriced: int
    week_nusd: int
    cap_nusd: int | None


@dataclass(frozen=True, kw_only=True)
class CostCentreLine:
    """The month of all teams of one cost centre; `cap_nusd` adds up the caps of those that have one."""

    cost_centre: str
    teams: int
    spent_nusd: int
    requests: int
    unpriced: int
    week_nusd: int
    cap_nusd: int | None
    without_cap: int
    nearly_used: int


def team_lines(
    month: Month,
    *,
    order: str,
    search: str = "",
    cost_centre: str | None = None,
    most: int | None = None,
    offset: int = 0,
) -> list[TeamLine]:
    """Some of the teams: `order` is one that `team_lines_page.sql` knows, with a minus for the other way round;
    `cost_centre` is "" for those that have none."""
    escaped = search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    asked = month.asked | {
        "search": escaped,
        "cost_centre": cost_centre,
        "order": order,
        "most": most,
        "offset": offset,
    }
    names = ("team", "name", "cost_centre", "spent_nusd", "requests", "unpriced", "week_nusd", "cap_nusd")
    return [TeamLine(**dict(zip(names, row, strict=True))) for row in _rows("team_lines_page", asked)]


def cost_centre_lines(month: Month) -> list[CostCentreLine]:
    """All cost centres, the dearest first."""
    names = (
        *("cost_centre", "teams", "spent_nusd", "requests", "unpriced", "week_nusd", "cap_nusd"),
        *("without_cap", "nearly_used"),
    )
    return [CostCentreLine(**dict(zip(names, row, strict=True))) for row in _rows("cost_centre_lines", month.asked)]


def spend_of_days(rows: QuerySet[Any], organization: str, days: Days) -> dict[date, int]:
    """The nano-USD of each day, of rows of `TeamDay`, `ModelDay` or `DayRollup`."""
    found = rows.filter(organization=organization, day__gte=days[0], day__lt=days[1])
    return dict(found.values_list("day").annotate(Sum("amount_nusd")).order_by("day"))


def spend_of_models(rows: QuerySet[Any], organization: str, days: Days) -> list[tuple[date, str, int]]:
    """The day, the model and the nano-USD, of rows of `ModelDay` or `DayRollup`."""
    found = rows.filter(~Q(amount_nusd=0), organization=organization, day__gte=days[0], day__lt=days[1])
    return list(found.values_list("day", "request_model").annotate(Sum("amount_nusd")).order_by("day", "request_model"))


def _rows(name: str, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement("team_lines") + statement(name), asked)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
