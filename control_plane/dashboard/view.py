"""What a home page is asked: by whom, of which organization, when, and with which choices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from control_plane.ledger.periods import Days
from control_plane.ledger.team_months import Month
from control_plane.rights.person import Person
from control_plane.teams.models import Organization
from kong_plugins.llm.windows import Period, period_at

_MONTHS_SHOWN = 12


@dataclass(frozen=True)
class View:
    """One request of a home page; days are those of the organization's time zone."""

    person: Person
    organization: Organization
    asked: QueryDict
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(self.organization.zone).date()

    @cached_property
    def periods(self) -> list[Period]:
        """This month and those before it, as budgets name them, the newest first."""
        found = [self._month_at(int(self.now.timestamp() * 1000))]
        while len(found) < _MONTHS_SHOWN:
            found.append(self._month_at(found[-1].start_ms - 1))
        return found

    @cached_property
    def period(self) -> Period:
        """The month that is asked about, by default this one."""
        asked = self.asked.get("month")
        return next((period for period in self.periods if period.name == asked), self.periods[0])

    @property
    def month(self) -> Month:
        return self.month_of(self.period)

    def month_of(self, period: Period) -> Month:
        days = self.days_of(period)
        return Month(
            organization=self.organization,
            name=period.name,
            days=days,
            today=self.today,
        )

    def days_of(self, period: Period) -> Days:
        """The first day of a period, and the day after its last."""
        start, end = (
            datetime.fromtimestamp(at_ms / 1000, self.organization.zone).date()
            for at_ms in (period.start_ms, period.end_ms)
        )
        return start, end

    def title_of(self, period: Period) -> str:
        """A month as people name it; one that does not begin on the first day has a day too."""
        start, _ = self.days_of(period)
        return f"{start:%b %Y}" if start.day == 1 else f"from {start.day} {start:%b %Y}"

    @property
    def kept(self) -> dict[str, str]:
        """What every home page is asked for: of which organization."""
        return {"organization": str(self.asked["organization"])} if "organization" in self.asked else {}

    def link(self, **asked: str) -> str:
        """The address of a home page."""
        return f"?{urlencode(self.kept | asked)}"

    def file_of(self, page: str, table: str) -> str:
        """The address of a table as a file."""
        return reverse("home-table", args=[page, table])

    def _month_at(self, at_ms: int) -> Period:
        organization = self.organization
        return period_at("month", at_ms, organization.zone, fiscal_month_start=organization.fiscal_month_start)
