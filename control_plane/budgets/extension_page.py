"""Temporary extensions in the admin: made, listed and revoked, never changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
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
)
from control_plane.amounts import amount_text
from control_plane.budgets.extensions import check_extension, checked_subject, extend_budget, revoke_extension
from control_plane.budgets.forms import amount_from
from control_plane.budgets.models import Budget, Extension
from control_plane.teams.models import Organization, User

_SHOWN_WITH_BUDGET: Final = 20


class ExtensionForm(ServiceForm[Extension]):
    subject = forms.CharField(
        label="For",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Whom of a budget that is for each by itself: a team's slug, a key's id or a user's label.",
    )
    entered_amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="Added to the cap: US dollars for money; else a number of tokens or requests. It counts at once, in "
        "every period that runs until it ends.",
    )
    expires_at = forms.SplitDateTimeField(
        label="Until", widget=UnfoldAdminSplitDateTimeWidget, help_text="In UTC. It ends at this instant by itself."
    )
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = Extension
        fields = ("budget", "subject", "entered_amount", "expires_at", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "budget" in self.fields:
            field: Any = self.fields["budget"]
            field.queryset = field.queryset.filter(active=True)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        entered, budget = cleaned.pop("entered_amount", None), cleaned.get("budget")
        cleaned["subject"] = cleaned.get("subject") or None
        if not self.errors and budget is not None:
            try:
                cleaned["amount"] = amount_from(entered, budget.unit)
                subject = checked_subject(budget, cleaned["subject"])
                check_extension(
                    Extension(
                        budget=budget, subject=subject, amount=cleaned["amount"], expires_at=cleaned["expires_at"]
                    )
                )
            except ValueError as error:
                self.add_error("entered_amount", str(error))
            except ValidationError as error:
                self._show(error)
        return cleaned

    def _show(self, error: ValidationError) -> None:
        renamed = {"amount": "entered_amount"}
        for name, complaints in error.message_dict.items():
            self.add_error(renamed.get(name, name), complaints)


@admin.register(Extension)
class ExtensionAdmin(ServiceAdmin[Extension]):
    form = ExtensionForm
    list_display = ("budget", "subject", "added", "state", "expires_at", "reason", "created_by")
    list_filter = ("budget",)
    search_fields = ("subject", "reason")
    readonly_fields = (
        *("budget", "subject", "added", "state", "expires_at", "reason", "created_by", "created_at"),
        *("revoked_by", "revoked_at"),
    )
    actions_detail = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Extension]:
        return super().get_queryset(request).select_related("budget__organization", "created_by", "revoked_by")

    def has_change_permission(self, request: HttpRequest, obj: Extension | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, "change", object_id)

    def get_readonly_fields(self, request: HttpRequest, obj: Extension | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_fields(self, request: HttpRequest, obj: Extension | None = None) -> Any:
        return self.readonly_fields if obj else ExtensionForm.Meta.fields

    @label_column("State", {"in force": "success", "ended": "info", "revoked": "warning"})
    def state(self, extension: Extension) -> str:
        return _state(extension)

    @admin.display(description="Added")
    def added(self, extension: Extension) -> str:
        return amount_text(extension.amount, extension.budget.unit)

    def organization_of(self, row: Extension) -> Organization:
        return row.budget.organization

    def create(self, form: ExtensionForm, user: User) -> Extension:
        fields: Any = dict(form.cleaned_data)
        return extend_budget(fields.pop("budget").pk, created_by=user, **fields)

    @confirmed_action(
        title="Revoke", description="The cap is lowered at once. This cannot be undone.", permission="revoke"
    )
    def revoke(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        extension = revoke_extension(int(object_id), revoked_by=user)
        if extension.revoked_at:
            messages.success(request, f"{extension} is revoked.")
        else:
            messages.info(request, f"{extension} had ended already.")
        self.tell_when_behind(request, extension)
        return leave_dialog(self.page_of(object_id))


def extensions_text(budget: Budget) -> SafeString | str:
    """The newest extensions of a budget, as its page shows them."""
    newest = budget.extensions.select_related("budget", "created_by")[:_SHOWN_WITH_BUDGET]
    lines = (
        (
            reverse("admin:budgets_extension_change", args=[extension.pk]),
            amount_text(extension.amount, budget.unit),
            extension.subject,
            f"{extension.expires_at:%Y-%m-%d %H:%M} UTC",
            _state(extension),
            extension.reason,
            extension.created_by,
        )
        for extension in newest
    )
    form = (
        '<div class="flex flex-row flex-wrap gap-4 py-1"><a class="font-medium text-primary-600" href="{}">{}</a>'
        "<span>for {}</span><span>until {}</span><span>{}</span><span>{}</span><span>by {}</span></div>"
    )
    return format_html_join("", form, lines) or "It was never extended."


def _state(extension: Extension) -> str:
    if extension.revoked_at:
        return "revoked"
    return "in force" if extension.expires_at > timezone.now() else "ended"
