"""Requests for more of a budget in the admin: asked, withdrawn, approved or refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from control_plane.administration import (
    ServiceAdmin,
    ServiceForm,
    confirmed_action,
    label_column,
    leave_dialog,
    page_action,
)
from control_plane.amounts import amount_text
from control_plane.budgets import extension_requests as services
from control_plane.budgets.forms import amount_from, entered_from
from control_plane.budgets.models import Budget, ExtensionRequest
from control_plane.rights.person import person_of
from control_plane.rights.scope import reachable, visible
from control_plane.teams.models import Organization, User

_SHOWN_WITH_BUDGET: Final = 10
_COLOURS: Final = {"waiting": "warning", "approved": "success", "refused": "danger"}


class RequestForm(ServiceForm[ExtensionRequest]):
    entered_amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="What you need on top of the cap: US dollars for money; else a number of tokens or requests.",
    )
    expires_at = forms.SplitDateTimeField(
        label="Until",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="In UTC; at most until the budget's running period ends, or 92 days.",
    )
    reason = forms.CharField(
        max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Whoever decides about it reads this."
    )

    class Meta:
        model = ExtensionRequest
        fields = ("budget", "entered_amount", "expires_at", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "budget" in self.fields:
            field: Any = self.fields["budget"]
            field.queryset = field.queryset.filter(active=True, subject__isnull=False, scope__in=("team", "key"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        entered, budget = cleaned.pop("entered_amount", None), cleaned.get("budget")
        if not self.errors and budget is not None:
            try:
                cleaned["amount"] = amount_from(entered, budget.unit)
                services.check_asked(budget, amount=cleaned["amount"], expires_at=cleaned["expires_at"])
            except ValidationError as error:
                show_errors(self, error)
            except ValueError as error:
                self.add_error("entered_amount", str(error))
        return cleaned


class ApprovalForm(forms.Form):
    """What is given: at first all that was asked for."""

    entered_amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="No more than was asked for: US dollars for money; else a number of tokens or requests.",
    )
    expires_at = forms.SplitDateTimeField(
        label="Until", widget=UnfoldAdminSplitDateTimeWidget, help_text="In UTC. It ends at this instant by itself."
    )
    note = forms.CharField(label="Note", required=False, max_length=500, widget=UnfoldAdminTextInputWidget)


class RefusalForm(forms.Form):
    note = forms.CharField(
        label="Note",
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why, or what else to do; who has asked reads it.",
    )


@admin.register(ExtensionRequest)
class ExtensionRequestAdmin(ServiceAdmin[ExtensionRequest]):
    form = RequestForm
    list_display = ("budget", "asked", "state_text", "expires_at", "reason", "asked_by", "decided_by")
    list_filter = ("state", "team")
    search_fields = ("reason", "budget__name", "asked_by__username")
    readonly_fields = (
        *("budget", "team", "asked", "period_name", "expires_at", "reason", "asked_by", "asked_at", "state_text"),
        *("given", "decided_by", "decided_at", "note"),
    )
    actions_detail = ("approve", "refuse", "withdraw")
    # The request has a reason of its own.
    change_form_after_template = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExtensionRequest]:
        related = ("budget__organization", "team", "asked_by", "decided_by", "extension")
        return super().get_queryset(request).select_related(*related)

    def has_change_permission(self, request: HttpRequest, obj: ExtensionRequest | None = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, "decide", object_id)

    def has_withdraw_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, "change", object_id)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Buttons stand only on the page of a request that still waits, and nobody decides what they asked for."""
        shown = services.waiting(self.get_queryset(request)).filter(pk=object_id).first()
        if shown is None:
            return []
        found: Any = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        names = ("withdraw",) if shown.asked_by_id == request.user.pk else ("approve", "refuse")
        return [each for each in found if each.path in names]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """For the budget from whose page somebody comes, until its running period ends."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        asked = str(initial.get("budget", ""))
        seen = visible(Budget.objects.select_related("organization"), person_of(request.user))
        budget = seen.filter(pk=asked).first() if asked.isdecimal() and len(asked) < 19 else None
        return initial | ({"expires_at": services.latest_end(budget)} if budget else {})

    def get_readonly_fields(self, request: HttpRequest, obj: ExtensionRequest | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_fields(self, request: HttpRequest, obj: ExtensionRequest | None = None) -> Any:
        return self.readonly_fields if obj else RequestForm.Meta.fields

    @label_column("State", _COLOURS)
    def state_text(self, row: ExtensionRequest) -> str:
        return row.state_now

    @admin.display(description="Asked for", ordering="amount")
    def asked(self, row: ExtensionRequest) -> str:
        return amount_text(row.amount, row.budget.unit)

    @admin.display(description="Given")
    def given(self, row: ExtensionRequest) -> str | SafeString | None:
        return given_text(row)

    def organization_of(self, row: ExtensionRequest) -> Organization:
        return row.budget.organization

    def create(self, form: RequestForm, user: User) -> ExtensionRequest:
        fields: Any = dict(form.cleaned_data)
        return services.ask_for_more(fields.pop("budget").pk, asked_by=user, **fields)

    @page_action(title="Approve", permission="decide")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that asks how much is given, and until when."""
        row = self._to_decide(request, object_id)
        user: Any = request.user
        initial = {"entered_amount": entered_from(row.amount, row.budget.unit), "expires_at": row.expires_at}
        form = ApprovalForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            fields: Any = dict(form.cleaned_data)
            try:
                fields["amount"] = amount_from(fields.pop("entered_amount"), row.budget.unit)
                services.approve_request(row.pk, decided_by=user, **fields)
            except services.NotWaiting as error:
                return self._too_late(request, object_id, error)
            except ValidationError as error:
                show_errors(form, error)
            except ValueError as error:
                form.add_error("entered_amount", str(error))
            else:
                return self._decided(request, row, "approved: it counts from the next call on")
        return self._decision_page(request, row, form, "Approve")

    @page_action(title="Refuse", permission="decide")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that asks why."""
        row = self._to_decide(request, object_id)
        user: Any = request.user
        form = RefusalForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                services.refuse_request(row.pk, decided_by=user, note=form.cleaned_data["note"])
            except services.NotWaiting as error:
                return self._too_late(request, object_id, error)
            except ValidationError as error:
                show_errors(form, error)
            else:
                return self._decided(request, row, "refused")
        return self._decision_page(request, row, form, "Refuse")

    @confirmed_action(title="Withdraw", description="Nobody decides about it then.", permission="withdraw")
    def withdraw(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        try:
            services.withdraw_request(int(object_id), withdrawn_by=user)
            messages.success(request, "The request is withdrawn.")
        except services.NotWaiting as error:
            messages.warning(request, str(error))
        return leave_dialog(self.page_of(object_id))

    def _to_decide(self, request: HttpRequest, object_id: str) -> Any:
        return reachable(self.get_queryset(request), person_of(request.user), "decide").get(pk=object_id)

    def _too_late(self, request: HttpRequest, object_id: str, error: services.NotWaiting) -> HttpResponse:
        messages.warning(request, str(error))
        return HttpResponseRedirect(self.page_of(object_id))

    def _decided(self, request: HttpRequest, row: ExtensionRequest, outcome: str) -> HttpResponse:
        messages.success(request, f"The request of {row.asked_by} is {outcome}.")
        self.tell_when_behind(request, row)
        return HttpResponseRedirect(self.page_of(row.pk))

    def _decision_page(self, request: HttpRequest, row: ExtensionRequest, form: Any, verb: str) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": f"{verb} what {row.asked_by} asks for",
            "row": row,
            "asked": amount_text(row.amount, row.budget.unit),
            "form": form,
            "verb": verb,
            "row_url": self.page_of(row.pk),
        }
        return TemplateResponse(request, "admin/budgets/decide.html", context)


def requests_text(budget: Budget) -> SafeString | str:
    """The newest requests for more of a budget, as its page shows them."""
    newest = budget.extension_requests.select_related("asked_by", "budget__organization")[:_SHOWN_WITH_BUDGET]
    lines = (
        (
            reverse("admin:budgets_extensionrequest_change", args=[row.pk]),
            amount_text(row.amount, budget.unit),
            f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
            row.state_now,
            row.reason,
            row.asked_by,
        )
        for row in newest
    )
    form = (
        '<div class="flex flex-row flex-wrap gap-4 py-1"><a class="font-medium text-primary-600" href="{}">{}</a>'
        "<span>until {}</span><span>{}</span><span>{}</span><span>by {}</span></div>"
    )
    return format_html_join("", form, lines) or "Nobody has asked for more."


def given_text(row: ExtensionRequest) -> SafeString | None:
    """What was approved, with a link to the extension."""
    if row.extension is None:
        return None
    return format_html(
        '<a class="font-medium text-primary-600" href="{}">{}</a> until {} UTC',
        reverse("admin:budgets_extension_change", args=[row.extension.pk]),
        amount_text(row.extension.amount, row.budget.unit),
        f"{row.extension.expires_at:%Y-%m-%d %H:%M}",
    )


def show_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Show what a service has refused beside the fields that people fill in."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error.messages)
        return
    for name, complaints in error.message_dict.items():
        shown = "entered_amount" if name == "amount" else name
        form.add_error(shown if shown in form.fields else None, complaints)
