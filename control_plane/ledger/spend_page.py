"""The spend page of the admin: who has spent how much in a span of days, as a table and day by day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.utils import timezone
from django.views.generic import TemplateView
from unfold.widgets import INPUT_CLASSES

from control_plane.amounts import amount_text, usd_text
from control_plane.ledger.forms import SpendForm
from control_plane.ledger.periods import Days, day_start
from control_plane.ledger.selectors import Spend, spend_by, spend_by_day
from control_plane.teams.models import Organization

if TYPE_CHECKING:
    _Page = TemplateView
else:
    from unfold.views import UnfoldModelAdminViewMixin

    class _Page(UnfoldModelAdminViewMixin, TemplateView): ...


class SpendPage(_Page):
    title = "Spend"
    permission_required = ("ledger.view_hourrollup",)
    template_name = "admin/ledger/spend.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        first = Organization.objects.first()
        if first is None:
            return context
        form = _asked(self.request.GET.dict(), first)
        return context | {"form": form} | _answer(form)


def _asked(given: dict[str, str], organization: Organization) -> SpendForm:
    """The question, completed; what cannot be understood is answered for this month instead, and said so."""
    usual = {"organization": organization.slug, "group_by": "team", "span": "month"}
    form = SpendForm(usual | given)
    if form.is_valid():
        return form
    fallback = SpendForm(usual)
    fallback.is_valid()
    fallback.complaints = [str(message) for messages in form.errors.values() for message in messages]
    return fallback


def _answer(form: SpendForm) -> dict[str, Any]:
    organization, group_by = form.cleaned_data["organization"], form.cleaned_data["group_by"]
    days = form.days(timezone.now().astimezone(organization.zone))
    start, end = (day_start(day, organization.zone) for day in days)
    rows = spend_by(organization.slug, group_by, start=start, end=end, zone=organization.zone)
    total = _total(rows)
    return {
        "title": f"{form.span_name}, by {group_by}",
        "input_classes": " ".join(INPUT_CLASSES),
        "first_day": days[0],
        "last_day": days[1] - timedelta(days=1),
        "groupings": _links(form, "group_by"),
        "spans": _links(form, "span"),
        "several_organizations": Organization.objects.count() > 1,
        "headings": ("Spent", "Share", "Requests", "Input tokens", "Output tokens"),
        "lines": [(row.name or row.subject or "(none)", _cells(row, total.amount_nusd)) for row in rows],
        "total": total,
        "total_cells": _cells(total, total.amount_nusd),
        "chart": _chart(spend_by_day(organization.slug, start=days[0], end=days[1]), days),
    }


def _links(form: SpendForm, name: str) -> list[dict[str, Any]]:
    """Tabs that change one thing of the question and leave the rest."""
    asked = {field: value for field, value in form.data.items() if value}
    field: Any = form.fields[name]
    return [
        {
            "title": label,
            "link": "?" + urlencode(asked | {name: value}),
            "active": form.cleaned_data[name] == value,
        }
        for value, label in field.choices
        if value != "custom"
    ]


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
