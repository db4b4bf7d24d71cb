"""What waits for somebody on every home page: requests for more that they decide, and what became of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.text import Truncator

from control_plane.amounts import amount_text, usd_text
from control_plane.budgets.extension_requests import waiting
from control_plane.budgets.models import ExtensionRequest
from control_plane.dashboard.view import View
from control_plane.rights.scope import reachable, visible
from control_plane.tables import NOTHING, Cell, Column, Listed, Table

_OWN_FOR: Final = timedelta(days=31)
_LONGEST_TEXT: Final = 40


def request_tables(view: View) -> list[Table]:
    """Those of the two tables for which there are lines."""
    requests = ExtensionRequest.objects.filter(team__organization=view.organization).select_related(
        "budget", "team", "asked_by", "decided_by", "extension"
    )
    return [*_to_decide(view, requests), *_own(view, requests)]


def _to_decide(view: View, requests: QuerySet[ExtensionRequest]) -> Iterator[Table]:
    """The oldest first. Who may do everything decides for others only too."""
    found = waiting(reachable(requests, view.person, "decide")).exclude(asked_by=view.person.user_id)
    lines = [
        (
            Cell(row.budget.name, _page_of(row)),
            Cell(row.team.name),
            _amount(row.amount, row),
            _instant(row.expires_at),
            Cell(row.asked_by.get_username()),
            _text(row.reason),
        )
        for row in found.order_by("pk")
    ]
    if not lines:
        return
    yield Table(
        name="waiting",
        title="Waiting for your decision",
        columns=(
            *(Column("Budget", "budget"), Column("Team", "team", is_choice=True)),
            *(Column("Asked for", "asked_for", is_number=True), Column("Until", "until")),
            *(Column("By", "by", is_choice=True), Column("Reason", "reason")),
        ),
        source=Listed(lines),
        nothing="Nothing that waits for you is like that.",
        query=view.asked,
        export=view.file_of("requests", "waiting"),
        more=Cell("All that waits", f"{reverse('admin:budgets_extensionrequest_changelist')}?state__exact=waiting"),
    )


def _own(view: View, requests: QuerySet[ExtensionRequest]) -> Iterator[Table]:
    """The newest first, of the last month."""
    found = visible(requests, view.person).filter(asked_by=view.person.user_id, asked_at__gte=view.now - _OWN_FOR)
    lines = [
        (
            Cell(row.budget.name, _page_of(row)),
            _amount(row.amount, row),
            Cell(f"{row.state_now} by {row.decided_by}" if row.decided_by else row.state_now),
            _amount(row.extension.amount, row) if row.extension else Cell(NOTHING),
            _instant((row.extension or row).expires_at),
            _text(row.note or NOTHING),
        )
        for row in found
    ]
    if not lines:
        return
    yield Table(
        name="requests",
        title="Your requests",
        columns=(
            *(Column("Budget", "budget"), Column("Asked for", "asked_for", is_number=True)),
            *(Column("State", "state", is_choice=True), Column("Given", "given", is_number=True)),
            *(Column("Until", "until"), Column("Note", "note")),
        ),
        source=Listed(lines),
        nothing="You have asked for nothing that is like that.",
        query=view.asked,
        export=view.file_of("requests", "requests"),
        more=Cell("All requests", reverse("admin:budgets_extensionrequest_changelist")),
    )


def _amount(amount: int, row: ExtensionRequest) -> Cell:
    unit = row.budget.unit
    return Cell(amount_text(amount, unit), value=Decimal(usd_text(amount)) if unit == "nusd" else amount)


def _instant(at: datetime) -> Cell:
    text = f"{at:%Y-%m-%d %H:%M} UTC"
    return Cell(_in_one_line(text), value=text)


def _text(text: str) -> Cell:
    return Cell(_in_one_line(text), value=None if text == NOTHING else text)


def _in_one_line(text: str) -> str:
    """A narrow screen would break it after each word; this way the table can be scrolled. All of it is on the
    request's page."""
    shortened = Truncator(text).chars(_LONGEST_TEXT)
    return shortened.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def _page_of(row: ExtensionRequest) -> str:
    return reverse("admin:budgets_extensionrequest_change", args=[row.pk])
