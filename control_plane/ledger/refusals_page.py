"""The refusals page of the admin: what limits and budgets have refused, or would have in shadow mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from control_plane.amounts import amount_text
from control_plane.ledger.forms import RefusalsForm, SpanForm
from control_plane.ledger.periods import Days, day_start
from control_plane.ledger.refusals import ShadowRefusals, refusals, shadow_refusals
from control_plane.ledger.span_page import SpanPage

# The most frequent; the REST API has all.
_LINES_SHOWN: Final = 200
Line = tuple[str, str, tuple[str, ...]]


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
        if form.cleaned_data["mode"] == "shadow":
            found = shadow_refusals(organization.slug, start=start, end=end, teams=teams)
            return {
                "title": f"What shadow mode would have refused, {form.span_name.lower()}",
                "headings": ("Calls", "Have cost"),
                "lines": _shadow_lines(found),
                "nothing": "Nothing in shadow mode would have refused a call in these days.",
            }
        return {
            "title": f"What was refused, {form.span_name.lower()}",
            "headings": ("Calls",),
            "lines": [
                (row.rule, row.team, (f"{row.calls:,}",))
                for row in refusals(organization.slug, start=start, end=end, teams=teams)[:_LINES_SHOWN]
            ],
            "nothing": "Nothing was refused in these days.",
        }


def _shadow_lines(rows: Sequence[ShadowRefusals]) -> list[Line]:
    return [(row.rule, row.team, (f"{row.calls:,}", _cost(row))) for row in rows[:_LINES_SHOWN]]


def _cost(row: ShadowRefusals) -> str:
    known = amount_text(row.amount_nusd, "nusd")
    return f"{known}, {row.unpriced:,} of them an unknown amount" if row.unpriced else known
