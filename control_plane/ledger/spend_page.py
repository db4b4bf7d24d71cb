"""The spend page of the admin: who has spent how much in a span of days, as a table and day by day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

from control_plane.amounts import amount_text, usd_text
from control_plane.ledger.forms import SpanForm, SpendForm
from control_plane.ledger.periods import Days, day_start
from control_plane.ledger.selectors import Spend, spend_by, spend_by_day
from control_plane.ledger.span_page import SpanPage
from control_plane.rights.scope import visible

# A page has the dearest; the REST API has all.
_LINES_SHOWN: Final = 200


class SpendPage(SpanPage):
    title = "Spend"
    permission_required = ("ledger.view_hourrollup",)
    template_name = "admin/ledger/spend.html"
    form_class = SpendForm
    choice = "group_by"
    usual_choice = "team"

    def answer(self, form: SpanForm, days: Days) -> dict[str, Any]:
        organization, group_by = form.cleaned_data["organization"], form.cleaned_data["group_by"]
        start, end = (day_start(day, organization.zone) for day in days)
        seen = partial(visible, person=self.person)
        rows = spend_by(
            organization.slug,
            group_by,
            start=start,
            end=end,
            zone=organization.zone,
            seen=seen,
            sees_all=self.person.teams_seen(organization.slug) is None,
            named=_LINES_SHOWN,
        )
        total = _total(rows)
        return {
            "title": f"{form.span_name}, by {group_by}",
            "headings": ("Spent", "Share", "Requests", "Input tokens", "Output tokens"),
            "lines": _lines(rows, total.amount_nusd),
            "total": total,
            "total_cells": _cells(total, total.amount_nusd),
            "chart": _chart(spend_by_day(organization.slug, start=days[0], end=days[1], seen=seen), days),
        }


def _lines(rows: Sequence[Spend], total_nusd: int) -> list[tuple[str, tuple[str, ...]]]:
    """The dearest, and the others together."""
    shown, others = rows[:_LINES_SHOWN], rows[_LINES_SHOWN:]
    lines = [(row.name or row.subject or "(none)", _cells(row, total_nusd)) for row in shown]
    return [*lines, (f"{len(others):,} others", _cells(_total(others), total_nusd))] if others else lines


def _cells(row: Spend, total_nusd: int) -> tuple[str, ...]:
    """A line of the table; the share is rounded to a tenth of a percent."""
    per_mille = (2_000 * row.amount_nusd + total_nusd) // (2 * total_nusd) if total_nusd > 0 else 0
    return (
        amount_text(row.amount_nusd, "nusd"),
        f"{per_mille // 10}.{per_mille % 10} %",
        f"{row.requests:,}",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
    )


def _total(rows: Sequence[Spend]) -> Spend:
    return Spend(
        subject="Total",
        amount_nusd=sum(row.amount_nusd for row in rows),
        requests=sum(row.requests for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
    )


def _chart(by_day: dict[date, int], days: Days) -> str:
    """Chart.js data: a bar a day. Amounts are exact text, which Chart.js reads."""
    shown = [days[0] + timedelta(days=number) for number in range((days[1] - days[0]).days)]
    amounts = [usd_text(by_day.get(day, 0)) for day in shown]
    dataset = {
        "label": "USD",
        "data": amounts,
        "backgroundColor": "var(--color-primary-600)",
        "displayYAxis": True,
        "suffixYAxis": "$",
        "maxTicksXLimit": 16,
        "maxBarThickness": 24,
    }
    return json.dumps({"labels": [f"{day:%b} {day.day}" for day in shown], "datasets": [dataset]})
