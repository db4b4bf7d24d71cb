"""What waits for somebody on every home page: requests for more that they decide, and what became of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.text import Truncator

from control_plane.amounts import amount_text
from control_plane.budgets.extension_requests import waiting
from control_plane.budgets.models import ExtensionRequest
from control_plane.dashboard.tables import Cell, Column, Table
from control_plane.dashboard.view import View
from control_plane.rights.scope import reachable, visible

_SHOWN: Final = 10
_OWN_FOR: Final = timedelta(days=31)
_LONGEST_TEXT: Final = 40


def request_tables(view: View) -> list[Table]:
    """Those of the two tables that have a line."""
    requests = ExtensionRequest.objects.filter(team__organization=view.organization).select_related(
        "budget", "team", "asked_by", "decided_by", "extension"
    )
    return [table for table in (_to_decide(view, requests), _own(view, requests)) if table.lines]


def _to_decide(view: View, requests: QuerySet[ExtensionRequest]) -> Table:
    """The oldest first. Who may do everything decides for others only too."""
    found = waiting(reachable(requests, view.person, "decide")).exclude(asked_by=view.person.user_id)
    return Table(
        title="Waiting for your decision",
        columns=(
            *(Column("Budget"), Column("Team"), Column("Asked for", is_number=True), Column("Until")),
            *(Column("By"), Column("Reason")),
        ),
        lines=[
            (
                Cell(row.budget.name, _page_of(row)),
                Cell(row.team.name),
                Cell(amount_text(row.amount, row.budget.unit)),
                Cell(_in_one_line(f"{row.expires_at:%Y-%m-%d %H:%M} UTC")),
                Cell(row.asked_by.get_username()),
                Cell(_in_one_line(row.reason)),
            )
            for row in found.order_by("pk")[:_SHOWN]
        ],
        nothing="Nothing waits for you.",
        more=Cell("All that waits", f"{reverse('admin:budgets_extensionrequest_changelist')}?state__exact=waiting"),
    )


def _own(view: View, requests: QuerySet[ExtensionRequest]) -> Table:
    """The newest first, of the last month."""
    found = visible(requests, view.person).filter(asked_by=view.person.user_id, asked_at__gte=view.now - _OWN_FOR)
    return Table(
        title="Your requests",
        columns=(
            *(Column("Budget"), Column("Asked for", is_number=True), Column("State"), Column("Given", is_number=True)),
            *(Column("Until"), Column("Note")),
        ),
        lines=[
            (
                Cell(row.budget.name, _page_of(row)),
                Cell(amount_text(row.amount, row.budget.unit)),
                Cell(f"{row.state_now} by {row.decided_by}" if row.decided_by else row.state_now),
                Cell(amount_text(row.extension.amount, row.budget.unit) if row.extension else "–"),
                Cell(_in_one_line(f"{(row.extension or row).expires_at:%Y-%m-%d %H:%M} UTC")),
                Cell(_in_one_line(row.note or "–")),
            )
            for row in found[:_SHOWN]
        ],
        nothing="You have asked for nothing.",
        more=Cell("All requests", reverse("admin:budgets_extensionrequest_changelist")),
    )


def _in_one_line(text: str) -> str:
    """A narrow screen would break it after each word; this way the table can be scrolled. All of it is on the
    request's page."""
    shortened = Truncator(text).chars(_LONGEST_TEXT)
    return shortened.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def _page_of(row: ExtensionRequest) -> str:
    return reverse("admin:budgets_extensionrequest_change", args=[row.pk])
