"""Budgets and limits in the admin, with how each budget stands right now."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from control_plane.administration import page_action
from control_plane.amounts import amount_text
from control_plane.api.exported_lists import ExportingAdmin
from control_plane.budgets import services
from control_plane.budgets.extension_page import extensions_text
from control_plane.budgets.forms import BudgetForm, LimitForm
from control_plane.budgets.models import Budget, ExtensionRequest, Limit
from control_plane.budgets.request_page import requests_text
from control_plane.budgets.selectors import Usage, current_usage, now_ms
from control_plane.budgets.validators import TIERS
from control_plane.rights.person import person_of
from control_plane.rights.scope import may
from control_plane.teams.models import User
from kong_plugins.llm.errors import StoreUnavailable

_FORECASTS_SHOWN: Final = 20
_SCOPE_FIELDS: Final[tuple[str, Any]] = ("Whose calls", {"fields": ("scope", "subject", "model", "provider", "tag")})


class ScopedColumns:
    """The columns that budgets and limits share."""

    @admin.display(description="For", ordering="scope")
    def scope_text(self, row: Budget | Limit) -> str:
        subject = f"{row.scope} {row.subject}" if row.subject else f"each {row.scope}"
        tag = f"tag {row.tag}" if row.tag else None
        return ", ".join(str(part) for part in (subject, row.model, row.provider, tag) if part)

    @admin.display(description="Tiers")
    def shares_text(self, row: Budget | Limit) -> str | None:
        shares = row.tier_shares_percent
        return ", ".join(f"{tier} {shares[tier]}\N{NO-BREAK SPACE}%" for tier in TIERS if tier in shares) or None


@admin.register(Budget)
class BudgetAdmin(ScopedColumns, ExportingAdmin[Budget]):
    form = BudgetForm
    exported = (
        *("id", "name", "scope", "subject", "model__name", "provider__name", "tag", "unit", "amount"),
        *("period", "hard", "carry_over_max", "shadow", "active", "created_at"),
    )
    list_display = (
        "name",
        "scope_text",
        "period",
        "cap",
        "spent",
        "held",
        "used",
        "used_up_on",
        "reached",
        "shares_text",
        "active",
    )
    list_filter = ("scope", "unit", "period", "active")
    search_fields = ("name", "subject")
    readonly_fields = ("standing", "foreseen", "extensions", "requests")
    actions_detail = ("extend", "ask_for_more")
    fieldsets: ClassVar[Any] = (
        ("Right now", {"fields": ("standing", "foreseen", "extensions", "requests")}),
        (None, {"fields": ("organization", "name", "active")}),
        _SCOPE_FIELDS,
        ("How much", {"fields": (("unit", "period"), "entered_amount", "carry_over_max", "thresholds_percent")}),
        ("When it is reached", {"fields": ("hard", "shadow", "degrade_at_percent", "queue_ms")}),
        ("Tiers", {"fields": ("tier_shares_percent",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[1:]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        rows = super().get_queryset(request).select_related("organization", "model", "provider")
        running = Q(forecasts__ends_at_ms__gt=now_ms())
        return rows.annotate(used_up_on=Min("forecasts__exceeds_on", filter=running))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Reads the live counters of the whole page at once."""
        changelist = super().get_changelist_instance(request)
        try:
            usage = current_usage(changelist.result_list)
            for budget in changelist.result_list:
                budget.__dict__["usage"] = usage.get(budget.pk, [])
        except StoreUnavailable:
            messages.warning(request, "Redis cannot be reached, so what is spent and held is not known right now.")
        return changelist

    @admin.display(description="Amount")
    def entered_amount(self, budget: Budget) -> str:
        """For those who see the budget and do not change it; others have the form's field."""
        return amount_text(budget.amount, budget.unit)

    @admin.display(description="Cap")
    def cap(self, budget: Budget) -> str:
        """Of a budget with one subject, what counts now; of others, what each has at least."""
        return _of_one(budget, "cap") or amount_text(budget.amount, budget.unit) + ("" if budget.subject else " each")

    @admin.display(description="When reached")
    def reached(self, budget: Budget) -> str:
        if not budget.hard:
            return "warn"
        if budget.degrade_at_percent is None:
            return _refusal(budget)
        return f"degrade at {budget.degrade_at_percent} %, {_refusal(budget)}"

    @admin.display(description="Spent")
    def spent(self, budget: Budget) -> str | None:
        return _of_one(budget, "spent")

    @admin.display(description="Held")
    def held(self, budget: Budget) -> str | None:
        return _of_one(budget, "held")

    @admin.display(description="Used")
    def used(self, budget: Budget) -> SafeString | None:
        """The fullest of the budget's caps."""
        known = [usage.used_percent for usage in _usage(budget) if usage.used_percent is not None]
        return _bar(max(known)) if known else None

    @admin.display(description="Running period")
    def standing(self, budget: Budget) -> str | SafeString:
        try:
            lines = [_standing_line(budget, usage) for usage in current_usage([budget]).get(budget.pk, [])]
        except StoreUnavailable:
            return "Redis cannot be reached."
        if budget.is_for_each_user:
            lines.append(_each_user(budget))
        return SafeString("".join(lines)) if lines else "No period is running."

    @admin.display(description="Used up on", ordering="used_up_on")
    def used_up_on(self, budget: Budget) -> str | None:
        """The first day on which one of the budget's caps will be reached, if it goes on like this."""
        first: date | None = budget.__dict__["used_up_on"]
        return first.isoformat().replace("-", "\N{NON-BREAKING HYPHEN}") if first else None

    @admin.display(description="Foreseen")
    def foreseen(self, budget: Budget) -> str | SafeString:
        running = budget.forecasts.filter(ends_at_ms__gt=now_ms(), exceeds_on__isnull=False)
        lines = (
            (row.subject, row.exceeds_on, amount_text(row.per_day, budget.unit))
            for row in running[:_FORECASTS_SHOWN]
            if budget.active
        )
        form = (
            '<div class="flex flex-row flex-wrap gap-4 py-1"><strong>{}</strong>'
            "<span>used up on {}</span><span>at {} a day</span></div>"
        )
        return format_html_join("", form, lines) or "Nothing will be used up within its period, or too little is known."

    @admin.display(description="Extensions")
    def extensions(self, budget: Budget) -> str | SafeString:
        return extensions_text(budget)

    @admin.display(description="Asked for")
    def requests(self, budget: Budget) -> str | SafeString:
        return requests_text(budget)

    @page_action(title="Extend for a time", permission="extend")
    def extend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an extension, for this budget."""
        return HttpResponseRedirect(f"{reverse('admin:budgets_extension_add')}?budget={object_id}")

    def has_extend_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        user: Any = request.user
        allowed: bool = user.has_perm("budgets.add_extension")
        return allowed

    @page_action(title="Ask for more", permission="ask")
    def ask_for_more(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of a request for an extension of this budget."""
        return HttpResponseRedirect(f"{reverse('admin:budgets_extensionrequest_add')}?budget={object_id}")

    def has_ask_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Who may extend it needs not ask."""
        asks = may(person_of(request.user), "add", ExtensionRequest)
        if object_id is None or not asks or self.has_extend_permission(request):
            return False
        return self.get_queryset(request).filter(pk=object_id, subject__isnull=False, active=True).exists()

    def create(self, form: BudgetForm, user: User) -> Budget:
        return services.create_budget(
            actor=user.get_username(),
            gives=form.person.gives_in(form.cleaned_data["organization"].slug),
            **form.cleaned_data,
        )

    def change(self, row: Budget, form: BudgetForm, actor: str) -> Budget:
        return services.change_budget(
            row.pk, actor=actor, gives=form.person.gives_in(row.organization.slug), **form.changes
        )


@admin.register(Limit)
class LimitAdmin(ScopedColumns, ExportingAdmin[Limit]):
    form = LimitForm
    exported = (
        *("id", "name", "scope", "subject", "model__name", "provider__name", "tag", "unit", "amount"),
        *("window_ms", "shadow", "active", "created_at"),
    )
    list_display = ("name", "scope_text", "rate", "reached", "shares_text", "active")
    list_filter = ("scope", "unit", "active")
    search_fields = ("name", "subject")
    fieldsets = (
        (None, {"fields": ("organization", "name", "active")}),
        _SCOPE_FIELDS,
        ("How much", {"fields": ("unit", "amount", "window_ms")}),
        ("When it is reached", {"fields": ("shadow", "queue_ms")}),
        ("Tiers", {"fields": ("tier_shares_percent",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Limit]:
        return super().get_queryset(request).select_related("organization", "model", "provider")

    @admin.display(description="At most")
    def rate(self, limit: Limit) -> str:
        if limit.unit == "concurrency":
            return f"{limit.amount:,} at once"
        return f"{limit.amount:,} {limit.unit} in {limit.window_ms // 1000:,}\N{NO-BREAK SPACE}s"

    @admin.display(description="When reached")
    def reached(self, limit: Limit) -> str:
        return _refusal(limit)

    def create(self, form: LimitForm, user: User) -> Limit:
        return services.create_limit(
            actor=user.get_username(),
            gives=form.person.gives_in(form.cleaned_data["organization"].slug),
            **form.cleaned_data,
        )

    def change(self, row: Limit, form: LimitForm, actor: str) -> Limit:
        return services.change_limit(
            row.pk, actor=actor, gives=form.person.gives_in(row.organization.slug), **form.changes
        )


def _refusal(row: Budget | Limit) -> str:
    """What becomes of a call that does not fit."""
    if row.shadow:
        return "report only"
    return f"wait {row.queue_ms // 1000} s" if row.queue_ms else "refuse"


def _usage(budget: Budget) -> list[Usage]:
    """What `get_changelist_instance` has read."""
    usage: list[Usage] = budget.__dict__.get("usage", [])
    return usage


def _of_one(budget: Budget, name: str) -> str | None:
    """An amount of a budget with one subject; each subject's own is on the budget's page."""
    usage = _usage(budget)
    if budget.subject is None or not usage:
        return None
    amount = getattr(usage[0], name)
    return None if amount is None else amount_text(amount, budget.unit)


def _bar(percent: int) -> SafeString:
    return render_to_string("admin/used_bar.html", {"percent": percent})


def _standing_line(budget: Budget, usage: Usage) -> SafeString:
    if usage.spent is None or usage.held is None or usage.used_percent is None:
        return format_html("<div>{}: not live yet</div>", usage.subject)
    return format_html(
        '<div class="flex flex-row flex-wrap gap-4 py-1"><strong>{}</strong> {} <span>{} spent</span>'
        "<span>{} held</span><span>of {}{}</span>{}</div>",
        usage.subject,
        usage.period,
        amount_text(usage.spent, budget.unit),
        amount_text(usage.held, budget.unit),
        amount_text(usage.cap, budget.unit),
        _additions(budget, usage),
        _bar(usage.used_percent),
    )


def _each_user(budget: Budget) -> SafeString:
    query = urlencode({"organization": budget.organization.slug, "group_by": "user"})
    return format_html(
        '<div>Each user is counted from their first call on. <a class="font-medium text-primary-600" href="{}?{}">'
        "Who has spent what</a> is in the ledger.</div>",
        reverse("admin:ledger_hourrollup_changelist"),
        query,
    )


def _additions(budget: Budget, usage: Usage) -> str:
    """What a cap has beside the budget's amount."""
    added = (("carried over", usage.carried_over), ("of extensions", usage.extended_by))
    words = [f"{amount_text(amount, budget.unit)} {how}" for how, amount in added if amount]
    return f" (with {' and '.join(words)})" if words else ""
