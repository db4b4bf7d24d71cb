"""The refusals page of the admin: what limits and budgets have refused, or would have in shadow mode."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django.urls import reverse

from control_plane.amounts import amount_text, usd_text
from control_plane.ledger.forms import RefusalsForm, SpanForm
from control_plane.ledger.periods import Days, day_start
from control_plane.ledger.refusals import ShadowRefusals, refusals, shadow_refusals
from control_plane.ledger.span_page import SpanPage
from control_plane.tables import Cell, Column, Listed, Table, count

_COLUMNS: Final = (
    *(Column("Limit or budget", "rule"), Column("Team", "team", is_choice=True)),
    Column("Calls", "calls", is_number=True),
)
_SHADOW_COLUMNS: Final = (
    Column("Have cost", "cost_usd", is_number=True),
    Column("of unknown cost", "calls_of_unknown_cost", only_in_file=True),
)
_IN_THESE: Final = " in these days."


class RefusalsPage(SpanPage):
    title = "Refusals"
    permission_required = ("ledger.view_refusalcount",)
    template_name = "admin/ledger/refusals.html"
    form_class = RefusalsForm
    choice = "mode"
    usual_choice = "enforced"

    def answer(self, form: SpanForm, days: Days) -> dict[str, Any]:
        organization = form.cleaned_data["organization"]
        start, end = (day_start(day, organization.zone) for day in days)
        teams = self.person.teams_seen(organization.slug)
        is_shadow = form.cleaned_data["mode"] == "shadow"
        span: dict[str, Any] = {"start": start, "end": end, "teams": teams}
        lines = (
            [
                (Cell(row.rule), Cell(row.team), count(row.calls), _cost(row), count(row.unpriced))
                for row in shadow_refusals(organization.slug, **span)
            ]
            if is_shadow
            else [(Cell(row.rule), Cell(row.team), count(row.calls)) for row in refusals(organization.slug, **span)]
        )
        title = "What shadow mode would have refused" if is_shadow else "What was refused"
        return {
            "title": f"{title}, {form.span_name.lower()}",
            "table": Table(
                name="refusals",
                title=title,
                columns=(*_COLUMNS, *_SHADOW_COLUMNS) if is_shadow else _COLUMNS,
                source=Listed(lines),
                nothing=f"Nothing in shadow mode would have refused a call{_IN_THESE}"
                if is_shadow
                else f"Nothing was refused{_IN_THESE}",
                query=self.request.GET,
                export=reverse("admin:ledger_refusalcount_export"),
                search_label="Limit or budget",
                lines_a_page=100,
            ),
        }


def _cost(row: ShadowRefusals) -> Cell:
    known = amount_text(row.amount_nusd, "nusd")
    text = f"{known}, {row.unpriced:,} of them an unknown amount" if row.unpriced else known
    return Cell(text, value=Decimal(usd_text(row.amount_nusd)))
