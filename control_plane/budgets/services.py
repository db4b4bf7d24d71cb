"""Changing budgets and limits, and bringing caps to the gateways. `actor` is the user name of who does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack, get_args

from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone

from control_plane.budgets.extensions import check_room
from control_plane.budgets.models import Budget, BudgetPeriod, Extension, Limit, ScopedRow
from control_plane.budgets.selectors import (
    checked_subject,
    extensions_by_subject,
    now_ms,
    periods_ahead,
    subjects_of,
)
from control_plane.live import VERSION_LEAP, announce_change, batches, leap_ahead, live_state, note_published
from control_plane.rows import change_row, create_row
from kong_plugins.llm.release import BudgetUnit, LimitUnit, ScopeKind, Tier
from kong_plugins.llm.store import Cap
from kong_plugins.llm.windows import PeriodKind

if TYPE_CHECKING:
    from control_plane.catalog.models import Model, Provider
    from control_plane.teams.models import Organization


class ScopedChanges(TypedDict, total=False):
    """What of a budget and of a limit alike may be changed at any time."""

    name: str
    amount: int
    queue_ms: int
    tier_shares_percent: dict[Tier, int]
    shadow: bool
    active: bool


class ScopedFields(ScopedChanges, total=False):
    """With whom a budget or a limit is about, which stays."""

    scope: Required[ScopeKind]
    subject: str | None
    model: Model | None
    provider: Provider | None
    tag: str | None


class BudgetChanges(ScopedChanges, total=False):
    hard: bool
    thresholds_percent: list[int]
    degrade_at_percent: int | None
    carry_over_max: int


class BudgetFields(ScopedFields, BudgetChanges):
    unit: BudgetUnit
    period: PeriodKind


class LimitFields(ScopedFields):
    unit: LimitUnit
    window_ms: int


@transaction.atomic
def create_budget(
    *, organization: Organization, actor: str, gives: bool = True, **fields: Unpack[BudgetFields]
) -> Budget:
    """Make a budget; its caps for this period and those to come are made when it is published. The organization `gives`
    its amount, or a team sets it for itself.

    Raises:
        ValidationError: by field.
    """
    return _create(Budget(organization=organization, **fields), actor, gives=gives)


@transaction.atomic
def change_budget(budget_id: int, *, actor: str, gives: bool = True, **changes: Unpack[BudgetChanges]) -> Budget:
    """Change a budget. A new amount, with what was carried over, is the cap of the running period and of those to
    come. If the organization `gives` it, it is what the team may set it to from then on; a team's own change stays
    within what was given.

    Raises:
        ValidationError: by field.
    """
    budget, changed = change_row(
        Budget.objects.select_related("organization"), budget_id, _with_given(changes, gives=gives)
    )
    if "active" in changed and budget.active:
        _follow_calendar(budget)
    if changed & {"amount", "thresholds_percent"}:
        check_room(budget)
        BudgetPeriod.objects.filter(budget=budget, ends_at_ms__gt=now_ms()).update(
            cap=F("carried_over") + budget.amount, version=F("version") + 1
        )
    if changed:
        announce_change(budget.organization_id, actor=actor)
    return budget


@transaction.atomic
def create_limit(*, organization: Organization, actor: str, gives: bool = True, **fields: Unpack[LimitFields]) -> Limit:
    """Make a limit.

    Raises:
        ValidationError: by field.
    """
    return _create(Limit(organization=organization, **fields), actor, gives=gives)


@transaction.atomic
def change_limit(limit_id: int, *, actor: str, gives: bool = True, **changes: Unpack[ScopedChanges]) -> Limit:
    """Change a limit. What it counts, and in which window, stays: its counter would mean something else.

    Raises:
        ValidationError: by field.
    """
    limit, changed = change_row(Limit.objects.all(), limit_id, _with_given(changes, gives=gives))
    if changed:
        announce_change(limit.organization_id, actor=actor)
    return limit


def _with_given(changes: Mapping[str, Any], *, gives: bool) -> dict[str, Any]:
    return {**changes, "given_amount": changes["amount"]} if gives and "amount" in changes else {**changes}


def _create(row: ScopedRow, actor: str, *, gives: bool) -> ScopedRow:
    row.given_amount = row.amount if gives else None
    row.subject = checked_subject(row.organization, row.scope, row.subject)
    create_row(row)
    announce_change(row.organization_id, actor=actor)
    return row


@transaction.atomic
def create_periods(organization: Organization) -> int:
    """Create the caps that are missing of the running and the coming periods; return how many were.

    The budgets are locked, so that a cap is never created from an amount that is being changed.
    """
    at_ms = now_ms()
    covered = _covered(organization, at_ms)
    missing = [
        BudgetPeriod(
            budget=budget,
            subject=subject,
            name=period.name,
            starts_at_ms=period.start_ms,
            ends_at_ms=period.end_ms,
            cap=budget.amount,
        )
        for budget in Budget.objects.select_for_update().filter(organization=organization, active=True).order_by("pk")
        for subject in subjects_of(budget)
        if (budget.pk, subject) not in covered
        for period in periods_ahead(budget.period, organization, at_ms)
    ]
    return len(BudgetPeriod.objects.bulk_create(missing, ignore_conflicts=True))


def publish_caps(organization_id: int) -> None:
    """Bring every cap that is behind to the gateways.

    Raises:
        StoreUnavailable: what was not reached stays behind.
    """
    rows = BudgetPeriod.objects.select_related("budget__organization").filter(
        budget__organization_id=organization_id, ends_at_ms__gt=now_ms(), published_version__lt=F("version")
    )
    behind = list(rows)
    # Read after the versions: an extension that comes meanwhile raises them, and so is published with the next.
    extensions = extensions_by_subject(organization_id)
    for some in batches(behind):
        _publish(some, extensions)


def cap_of(row: BudgetPeriod, extensions: Iterable[Extension]) -> Cap:
    """A period's cap as gateways are told of it."""
    return Cap(
        budget_id=row.budget.reference,
        subject=row.subject,
        period_name=row.name,
        amount=row.cap,
        version=row.version,
        thresholds_percent=tuple(row.budget.thresholds_percent),
        extensions=tuple((extension.amount, extension.expires_at_ms) for extension in extensions),
    )


def _publish(rows: Sequence[BudgetPeriod], extensions: Mapping[tuple[int, str], list[Extension]]) -> None:
    """Bring some caps of one organization to the gateways in one trip. One of which Redis has a newer version leaps
    ahead of it."""
    caps = [cap_of(row, extensions.get((row.budget_id, row.subject), ())) for row in rows]
    taken = live_state().set_caps(rows[0].budget.organization.slug, caps)
    new = {row.pk: row.version for row, is_taken in zip(rows, taken, strict=True) if is_taken}
    note_published(BudgetPeriod.objects.all(), new)
    refused = [row for row, is_taken in zip(rows, taken, strict=True) if not is_taken]
    leaping = [row for row in refused if leap_ahead(BudgetPeriod.objects.filter(pk=row.pk, version=row.version))]
    for row in leaping:
        row.version += VERSION_LEAP
    if leaping:
        _publish(leaping, extensions)


def mark_caps_behind(organization_id: int) -> None:
    """Have every cap that still counts published anew, because Redis has lost what it knew."""
    rows = BudgetPeriod.objects.filter(budget__organization_id=organization_id, ends_at_ms__gt=now_ms())
    rows.update(published_version=0)


def _covered(organization: Organization, at_ms: int) -> set[tuple[int, str]]:
    """The subjects, by budget, who have every cap that gateways will look for: they know a period by its name."""
    covered: set[tuple[int, str]] = set()
    for kind in get_args(PeriodKind):
        names = [period.name for period in periods_ahead(kind, organization, at_ms)]
        rows = BudgetPeriod.objects.filter(
            budget__organization=organization, budget__active=True, budget__period=kind, name__in=names
        )
        known = rows.order_by().values("budget_id", "subject").annotate(number=Count("pk")).filter(number=len(names))
        covered.update(known.values_list("budget_id", "subject"))
    return covered


def _follow_calendar(budget: Budget) -> None:
    """Have the periods of a budget that was switched off agree with the calendar, which may have changed meanwhile.

    A period that no gateway looks for any more ends now, and nothing of it is carried over; one that has not begun is
    forgotten. A name that stays keeps its counter.
    """
    at_ms = now_ms()
    rows = BudgetPeriod.objects.filter(budget=budget)
    expected = list(periods_ahead(budget.period, budget.organization, at_ms))
    for period in expected:
        rows.filter(name=period.name).update(starts_at_ms=period.start_ms, ends_at_ms=period.end_ms)
    others = rows.exclude(name__in=[period.name for period in expected])
    others.filter(starts_at_ms__lt=at_ms, ends_at_ms__gt=at_ms).update(ends_at_ms=at_ms, closed_at=timezone.now())
    others.filter(starts_at_ms__gte=at_ms).delete()
