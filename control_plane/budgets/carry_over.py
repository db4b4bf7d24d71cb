"""Carrying over: what a period left unspent is added to the next one's cap, once, as far as the budget allows.

A period is closed in one transaction with the cap that it raises. Redis is asked before: only what it knows to be spent
for good is carried, and a call belongs to the period of its admission, however late it ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from control_plane.budgets.models import Budget, BudgetPeriod
from control_plane.budgets.selectors import live_extensions, now_ms
from control_plane.live import announce_change, live_state
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.money import MAX_CAP_NUSD

if TYPE_CHECKING:
    from kong_plugins.llm.store import PeriodEnd

logger = logging.getLogger(__name__)


def carry_over_everything() -> None:
    """Close what can be closed of every organization; what cannot yet, because calls are still held, stays open."""
    for organization in Organization.objects.all():
        try:
            carry_over(organization)
        except StoreUnavailable as error:
            logger.warning("%s: nothing is carried over yet: %s", organization.slug, error)


def carry_over(organization: Organization) -> int:
    """Close the ended periods of an organization and carry on what they left; return how many caps that raised.

    Raises:
        StoreUnavailable: what was spent is not known just now.
    """
    ended = BudgetPeriod.objects.filter(budget__organization=organization, closed_at=None, ends_at_ms__lte=now_ms())
    ended.filter(budget__carry_over_max=0).update(closed_at=timezone.now())
    raised = sum(_close(period) for period in ended.select_related("budget__organization").order_by("starts_at_ms"))
    if raised:
        announce_change(organization.pk, actor="carry-over")
    return raised


def carried(*, left: int, carry_over_max: int, room: int) -> int:
    """How much of what a period left is added to the next cap, which has `room` to grow."""
    return max(0, min(left, carry_over_max, room))


def _close(period: BudgetPeriod) -> bool:
    """Close a period if nothing of it is held any more; return whether that raised the next one's cap.

    It waits for the one before it, whose rest may still raise its own cap.
    """
    if _beside(period).filter(ends_at_ms=period.starts_at_ms, closed_at=None).exists():
        return False
    budget = period.budget
    end = live_state().period_end(
        budget.organization.slug, budget.reference, period.subject, period.name, ended_at_ms=period.ends_at_ms
    )
    return end is not None and _carry_on(period, end)


@transaction.atomic
def _carry_on(period: BudgetPeriod, end: PeriodEnd) -> bool:
    budget = Budget.objects.select_for_update().get(pk=period.budget_id)
    if not BudgetPeriod.objects.filter(pk=period.pk, closed_at=None).update(closed_at=timezone.now()):
        return False
    period.refresh_from_db(fields=["cap"])
    following = _beside(period).filter(starts_at_ms=period.ends_at_ms).first()
    if following is None or end.spent is None:
        return False
    amount = carried(
        left=period.cap - end.spent,
        carry_over_max=budget.carry_over_max,
        room=MAX_CAP_NUSD - following.cap - _extended_by(following),
    )
    if amount:
        BudgetPeriod.objects.filter(pk=following.pk).update(
            cap=F("cap") + amount, carried_over=F("carried_over") + amount, version=F("version") + 1
        )
        logger.info("%s: %d carried over from %s", following, amount, period.name)
    return amount > 0


def _beside(period: BudgetPeriod) -> QuerySet[BudgetPeriod]:
    """All periods of the same budget and subject."""
    return BudgetPeriod.objects.filter(budget_id=period.budget_id, subject=period.subject)


def _extended_by(period: BudgetPeriod) -> int:
    extensions = live_extensions().filter(budget_id=period.budget_id, subject=period.subject)
    total: int = extensions.aggregate(total=Sum("amount", default=0))["total"]
    return total
