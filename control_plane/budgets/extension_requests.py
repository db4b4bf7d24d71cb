"""Requests for more of a budget: asked by its team, decided by whoever is above, who never is who asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Case, CharField, F, QuerySet, Value, When
from django.utils import timezone

from control_plane.budgets.extensions import check_extension, extend_budget
from control_plane.budgets.models import Budget, Extension, ExtensionRequest
from control_plane.budgets.selectors import now_ms
from control_plane.keys.selectors import team_of_key
from control_plane.rows import create_row
from control_plane.teams.selectors import team_of
from kong_plugins.llm.windows import Period, period_at

if TYPE_CHECKING:
    from control_plane.teams.models import Team, User

LONGEST_ASKED: Final = timedelta(days=92)


class NotWaiting(Exception):
    """The request was decided or withdrawn already, or its end has come; the message says which."""


@transaction.atomic
def ask_for_more(
    budget_id: int, *, amount: int, reason: str, asked_by: User, expires_at: datetime | None = None
) -> ExtensionRequest:
    """Ask for so much more of a budget until an instant of its running period, at most 92 days ahead; none given is
    as long as can be. One person has one request a budget waiting.

    Raises:
        ValidationError: by field.
    """
    # Locked, so that of two requests of one person at the same time the second sees the first.
    budget = Budget.objects.select_for_update(of=("self",)).select_related("organization").get(pk=budget_id)
    team, period = team_that_asks(budget), _running_period(budget)
    until = latest_end(budget) if expires_at is None else expires_at
    check_asked(budget, amount=amount, expires_at=until)
    if waiting(ExtensionRequest.objects.filter(budget=budget, asked_by=asked_by)).exists():
        raise ValidationError({"budget": "You have asked for more of it already: withdraw that request first."})
    return create_row(
        ExtensionRequest(
            budget=budget,
            team=team,
            period_name=period.name,
            amount=amount,
            expires_at=until,
            reason=reason,
            asked_by=asked_by,
        )
    )


@transaction.atomic
def approve_request(
    request_id: int,
    *,
    decided_by: User,
    amount: int | None = None,
    expires_at: datetime | None = None,
    note: str = "",
) -> ExtensionRequest:
    """Give what was asked for, or less of it, or for a shorter time; it counts on the next request.

    Raises:
        NotWaiting: somebody was faster.
        ValidationError: by field.
    """
    request = _waiting_request(request_id, decided_by)
    given = request.amount if amount is None else amount
    until = request.expires_at if expires_at is None else expires_at
    if given > request.amount:
        raise ValidationError({"amount": "This is more than was asked for."})
    if until > request.expires_at:
        raise ValidationError({"expires_at": "This is later than was asked for."})
    request.extension = extend_budget(
        request.budget_id,
        subject=request.budget.subject,
        amount=given,
        expires_at=until,
        reason=request.reason,
        created_by=decided_by,
    )
    return _decide(request, ExtensionRequest.State.APPROVED, decided_by, note)


@transaction.atomic
def refuse_request(request_id: int, *, decided_by: User, note: str) -> ExtensionRequest:
    """Refuse it, with a note that says why.

    Raises:
        NotWaiting: somebody was faster.
        ValidationError: by field.
    """
    if not note:
        raise ValidationError({"note": "Say why, for who has asked."})
    return _decide(_waiting_request(request_id, decided_by), ExtensionRequest.State.REFUSED, decided_by, note)


@transaction.atomic
def withdraw_request(request_id: int, *, withdrawn_by: User) -> ExtensionRequest:
    """Take back what one has asked for.

    Raises:
        NotWaiting: it was decided meanwhile.
        ValidationError: somebody else has asked.
    """
    request = _locked(request_id)
    if request.asked_by_id != withdrawn_by.pk:
        raise ValidationError("Only who has asked withdraws a request; refuse it instead.")
    return _decide(request, ExtensionRequest.State.WITHDRAWN, withdrawn_by, "")


def waiting(requests: QuerySet[ExtensionRequest]) -> QuerySet[ExtensionRequest]:
    """Those of the requests that can be decided now."""
    return requests.filter(state=ExtensionRequest.State.WAITING, expires_at__gt=timezone.now())


def with_state(requests: QuerySet[ExtensionRequest]) -> QuerySet[ExtensionRequest]:
    """The requests with `current_state`, to filter by: as they lie there, or expired."""
    late = When(state=ExtensionRequest.State.WAITING, expires_at__lte=timezone.now(), then=Value("expired"))
    return requests.annotate(current_state=Case(late, default=F("state"), output_field=CharField()))


def latest_end(budget: Budget) -> datetime:
    """Until when more of a budget can be asked for: its running period's end, at most 92 days ahead."""
    furthest = (timezone.now() + LONGEST_ASKED).replace(second=0, microsecond=0)
    end_ms = _running_period(budget).end_ms
    return furthest if end_ms > furthest.timestamp() * 1000 else datetime.fromtimestamp(end_ms / 1000, UTC)


def check_asked(budget: Budget, *, amount: int, expires_at: datetime) -> None:
    """See that what is asked for could be given.

    Raises:
        ValidationError: by field.
    """
    team_that_asks(budget)
    check_extension(Extension(budget=budget, subject=str(budget.subject), amount=amount, expires_at=expires_at))
    if expires_at > (latest := latest_end(budget)):
        raise ValidationError(
            {
                "expires_at": f"At most until {latest:%Y-%m-%d %H:%M} UTC: the end of the budget's running period, or "
                f"{LONGEST_ASKED.days} days. What is needed for longer is a higher amount."
            }
        )


def team_that_asks(budget: Budget) -> Team:
    """The team whose budget it is.

    Raises:
        ValidationError: for `budget`.
    """
    team = None
    if budget.subject is not None and budget.scope == "team":
        team = team_of(budget.organization_id, budget.subject)
    elif budget.subject is not None and budget.scope == "key":
        team = team_of_key(budget.organization_id, budget.subject)
    if team is None:
        raise ValidationError({"budget": "More can be asked for of a budget of one team or of one key."})
    return team


def _running_period(budget: Budget) -> Period:
    organization = budget.organization
    return period_at(budget.period, now_ms(), organization.zone, fiscal_month_start=organization.fiscal_month_start)


def _locked(request_id: int) -> ExtensionRequest:
    """The request, which nobody else decides until the transaction ends."""
    requests = ExtensionRequest.objects.select_for_update(of=("self",)).select_related(
        "budget__organization", "team", "asked_by"
    )
    request = requests.get(pk=request_id)
    if request.state_now != ExtensionRequest.State.WAITING:
        by = f" by {request.decided_by}" if request.decided_by else ""
        raise NotWaiting(f"This request is {request.state_now} already{by}.")
    return request


def _waiting_request(request_id: int, decided_by: User) -> ExtensionRequest:
    request = _locked(request_id)
    if request.asked_by_id == decided_by.pk:
        raise ValidationError("Nobody decides what they have asked for themselves.")
    return request


def _decide(request: ExtensionRequest, state: ExtensionRequest.State, decided_by: User, note: str) -> ExtensionRequest:
    request.state, request.decided_by, request.decided_at, request.note = state, decided_by, timezone.now(), note
    request.full_clean()
    request.save(update_fields=["state", "decided_by", "decided_at", "note", "extension"])
    return request
