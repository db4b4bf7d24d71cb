"""What is read of budgets: whom they are about, in which periods, and how much is used right now."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from control_plane.budgets.models import Budget, BudgetPeriod, Extension
from control_plane.keys.selectors import active_key_ids
from control_plane.live import batches, live_state
from control_plane.teams.selectors import team_slugs
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.release import ScopeKind
from kong_plugins.llm.store import BudgetState
from kong_plugins.llm.windows import Period, PeriodKind, next_period, period_at

if TYPE_CHECKING:
    from control_plane.teams.models import Organization

_DAYS_AHEAD: Final = {"day": 45}
_OTHER_DAYS_AHEAD: Final = 100
_DAY_MS: Final = 86_400_000
# The scopes whose subjects are rows, so that they can be listed.
_SUBJECTS: Final = {"team": team_slugs, "key": active_key_ids}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How a cap stands, in the budget's unit: `cap` is what counts now, of which so much was `carried_over` and is
    `extended_by` for a time. `spent` and `held` are None where Redis does not know the period."""

    subject: str
    period: str
    cap: int
    carried_over: int
    extended_by: int
    spent: int | None
    held: int | None

    @property
    def used_percent(self) -> int | None:
        """Spent and held as a part of the cap, rounded down; 100 where the cap is 0."""
        if self.spent is None or self.held is None:
            return None
        return (self.spent + self.held) * 100 // self.cap if self.cap else 100


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def checked_subject(organization: Organization, scope: ScopeKind, subject: str | None) -> str | None:
    """The subject as it is stored: an organization's is its own slug; a team or a key must exist.

    Raises:
        ValidationError: for `subject`.
    """
    if scope == "organization":
        if subject not in (None, organization.slug):
            raise ValidationError({"subject": "For the scope organization the subject is its own slug, or none."})
        return organization.slug
    if subject is not None and scope in _SUBJECTS and subject not in _SUBJECTS[scope](organization.pk):
        raise ValidationError({"subject": f"No such {scope}: {subject}."})
    return subject


def subjects_of(budget: Budget) -> list[str]:
    """The subjects whose caps in this budget have rows: of a budget for each user by itself, those that are
    extended; what others may use is in the policy."""
    if budget.subject is not None:
        return [budget.subject]
    if budget.is_for_each_user:
        extended = live_extensions().filter(budget=budget)
        return list(extended.order_by("subject").values_list("subject", flat=True).distinct())
    return _SUBJECTS[budget.scope](budget.organization_id)


def periods_ahead(kind: PeriodKind, organization: Organization, at_ms: int) -> Iterator[Period]:
    """The period that holds the instant, and those that begin within the time that we create ahead, so that a new
    period never waits for a job."""
    start = organization.fiscal_month_start
    horizon_ms = at_ms + _DAYS_AHEAD.get(kind, _OTHER_DAYS_AHEAD) * _DAY_MS
    period = period_at(kind, at_ms, organization.zone, fiscal_month_start=start)
    while period.start_ms <= horizon_ms:
        yield period
        if kind == "total":
            return
        period = next_period(kind, period, organization.zone, fiscal_month_start=start)


def live_extensions() -> QuerySet[Extension]:
    """Those that count now."""
    return Extension.objects.filter(revoked_at=None, expires_at__gt=timezone.now())


def extensions_by_subject(organization_id: int) -> dict[tuple[int, str], list[Extension]]:
    """The extensions that count now, by budget and subject."""
    found: dict[tuple[int, str], list[Extension]] = defaultdict(list)
    for extension in live_extensions().filter(budget__organization_id=organization_id).order_by("pk"):
        found[extension.budget_id, extension.subject].append(extension)
    return found


def current_usage(budgets: Iterable[Budget]) -> dict[int, list[Usage]]:
    """How the caps of the running periods of each of some budgets stand, from the live counters.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    at_ms = now_ms()
    running = BudgetPeriod.objects.filter(starts_at_ms__lte=at_ms, ends_at_ms__gt=at_ms)
    rows = list(running.filter(budget__in={budget.pk for budget in budgets}).select_related("budget__organization"))
    found: dict[int, list[Usage]] = defaultdict(list)
    for row, usage in zip(rows, usage_of(rows), strict=True):
        found[row.budget_id].append(usage)
    return found


def usage_if_known(budgets: Iterable[Budget]) -> dict[int, list[Usage]]:
    """`current_usage`, or nothing where Redis cannot be reached."""
    try:
        return current_usage(budgets)
    except StoreUnavailable:
        return {}


def usage_of(rows: Iterable[BudgetPeriod]) -> list[Usage]:
    """How these caps stand, from the live counters.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    found = list(rows)
    extended_by: dict[tuple[int, str], int] = defaultdict(int)
    subjects = {row.subject for row in found}
    for extension in live_extensions().filter(budget__in={row.budget_id for row in found}, subject__in=subjects):
        extended_by[extension.budget_id, extension.subject] += extension.amount
    states = _live_states(found)
    return [_usage(row, states[row.pk], extended_by[row.budget_id, row.subject]) for row in found]


def _live_states(rows: Iterable[BudgetPeriod]) -> dict[int, BudgetState | None]:
    """What Redis knows of each cap, by the primary key."""
    by_organization: dict[str, list[BudgetPeriod]] = defaultdict(list)
    for row in rows:
        by_organization[row.budget.organization.slug].append(row)
    found: dict[int, BudgetState | None] = {}
    for slug, of_one in by_organization.items():
        for some in batches(of_one):
            places = [(row.budget.reference, row.subject, row.name) for row in some]
            states = live_state().budget_states(slug, places)
            found.update({row.pk: state for row, state in zip(some, states, strict=True)})
    return found


def _usage(row: BudgetPeriod, state: BudgetState | None, extended_by: int) -> Usage:
    return Usage(
        subject=row.subject,
        period=row.name,
        cap=state.cap if state else row.cap + extended_by,
        carried_over=row.carried_over,
        extended_by=extended_by,
        spent=state.spent if state else None,
        held=state.held if state else None,
    )
