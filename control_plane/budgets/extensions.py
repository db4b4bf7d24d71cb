"""Temporary extensions of budgets: made by a person for a reason, ended by Redis' clock or by being revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Max, Sum
from django.utils import timezone

from control_plane.budgets.models import Budget, BudgetPeriod, Extension
from control_plane.budgets.selectors import live_extensions, now_ms, subjects_of
from control_plane.live import announce_change
from control_plane.rows import create_row
from kong_plugins.llm.money import MAX_CAP_NUSD

if TYPE_CHECKING:
    from control_plane.teams.models import User

LONGEST: Final = timedelta(days=366)
_TOO_HIGH: Final = f"With its extensions and what was carried over, a cap is at most {MAX_CAP_NUSD}."


@transaction.atomic
def extend_budget(
    budget_id: int, *, subject: str | None, amount: int, expires_at: datetime, reason: str, created_by: User
) -> Extension:
    """Add to a budget's cap for one subject until an instant; it counts on the next request.

    `subject` may be left out where the budget is about one anyway.

    Raises:
        ValidationError: by field.
    """
    budget = Budget.objects.select_for_update(of=("self",)).select_related("organization").get(pk=budget_id)
    extension = Extension(
        budget=budget,
        subject=checked_subject(budget, subject),
        amount=amount,
        expires_at=expires_at,
        reason=reason,
        created_by=created_by,
    )
    check_extension(extension)
    create_row(extension)
    _tell_periods(extension)
    announce_change(budget.organization_id, actor=created_by.get_username())
    return extension


@transaction.atomic
def revoke_extension(extension_id: int, *, revoked_by: User) -> Extension:
    """End an extension before its time; one that has ended already stays as it is."""
    extension = Extension.objects.select_for_update(of=("self",)).select_related("budget").get(pk=extension_id)
    if extension.revoked_at is None and extension.expires_at > timezone.now():
        extension.revoked_by, extension.revoked_at = revoked_by, timezone.now()
        extension.save(update_fields=["revoked_by", "revoked_at"])
        _tell_periods(extension)
        announce_change(extension.budget.organization_id, actor=revoked_by.get_username())
    return extension


def checked_subject(budget: Budget, subject: str | None) -> str:
    """Whom of a budget an extension is for.

    Raises:
        ValidationError: for `subject`.
    """
    if budget.subject is not None:
        if subject not in (None, budget.subject):
            raise ValidationError({"subject": f"This budget is about {budget.subject} only."})
        return budget.subject
    if subject is None:
        raise ValidationError({"subject": f"Say for which {budget.scope}: the budget is for each by itself."})
    if not budget.is_for_each_user and subject not in subjects_of(budget):
        raise ValidationError({"subject": f"No such {budget.scope}: {subject}."})
    return subject


def check_extension(extension: Extension) -> None:
    """See that a new extension would do something, ends within a year, and leaves the cap countable.

    Raises:
        ValidationError: by field.
    """
    if not extension.budget.active:
        raise ValidationError({"budget": "The budget is switched off, so this would do nothing."})
    if extension.amount < 1:
        raise ValidationError({"amount": "Give more than 0."})
    if extension.expires_at <= timezone.now():
        raise ValidationError({"expires_at": "This must be in the future."})
    if extension.expires_at > timezone.now() + LONGEST:
        raise ValidationError({"expires_at": "An extension lasts a year at most; raise the budget's amount instead."})
    if _highest_cap(extension.budget) + extension.amount > MAX_CAP_NUSD:
        raise ValidationError({"amount": _TOO_HIGH})


def check_room(budget: Budget) -> None:
    """See that no cap of the budget is beyond what Redis counts exactly, with all that is added to it.

    Raises:
        ValidationError: for `amount`.
    """
    if _highest_cap(budget) > MAX_CAP_NUSD:
        raise ValidationError({"amount": _TOO_HIGH})


def _highest_cap(budget: Budget) -> int:
    """What none of the budget's caps is above, with the most that any subject was carried over and is extended by."""
    periods = BudgetPeriod.objects.filter(budget=budget, ends_at_ms__gt=now_ms())
    carried_over: int = periods.aggregate(most=Max("carried_over", default=0))["most"]
    sums = live_extensions().filter(budget=budget).order_by().values("subject").annotate(total=Sum("amount"))
    return budget.amount + carried_over + max((row["total"] for row in sums), default=0)


def _tell_periods(extension: Extension) -> None:
    """Have the caps that it counts in published anew."""
    periods = BudgetPeriod.objects.filter(budget_id=extension.budget_id, subject=extension.subject)
    periods = periods.filter(ends_at_ms__gt=now_ms(), starts_at_ms__lt=extension.expires_at_ms)
    periods.update(version=F("version") + 1)
