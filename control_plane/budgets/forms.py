"""Forms of budgets and limits in the admin: money in US dollars, windows in seconds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
)

from control_plane.administration import ServiceForm
from control_plane.budgets.models import MAX_WINDOW_MS, Budget, Limit
from control_plane.budgets.selectors import checked_subject
from kong_plugins.llm.money import MAX_CAP_NUSD, nusd_from_usd, usd_from_nusd

_FIXED = ("organization", "scope", "subject", "model", "provider", "tag", "unit")


class BudgetForm(ServiceForm[Budget]):
    fixed = (*_FIXED, "period")

    entered_amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="In US dollars for money; else a number of tokens or requests. It counts at once.",
    )
    thresholds_percent = SimpleArrayField(
        forms.IntegerField(min_value=1, max_value=100),
        label="Thresholds",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Percentages of the cap, ascending, separated by commas; each is reported once a period.",
    )

    class Meta:
        model = Budget
        fields = (
            *("organization", "name", "scope", "subject", "model", "provider", "tag", "unit", "period"),
            *("entered_amount", "hard", "shadow", "active", "thresholds_percent"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            amount = self.instance.amount
            self.fields["entered_amount"].initial = usd_from_nusd(amount) if self.instance.unit == "nusd" else amount

    def clean_subject(self) -> str | None:
        return _checked_subject(self)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        entered, unit = cleaned.pop("entered_amount", None), cleaned.get("unit")
        if entered is not None and unit is not None:
            try:
                cleaned["amount"] = _amount(entered, unit)
            except ValueError as error:
                self.add_error("entered_amount", str(error))
        return cleaned

    @property
    def changes(self) -> dict[str, Any]:
        renamed = {"entered_amount": "amount"}
        return {name: self.cleaned_data[name] for name in (renamed.get(name, name) for name in self.changed_data)}


class LimitForm(ServiceForm[Limit]):
    fixed = (*_FIXED, "window_seconds")

    window_seconds = forms.IntegerField(
        label="Window, in seconds",
        min_value=1,
        max_value=MAX_WINDOW_MS // 1000,
        initial=60,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    class Meta:
        model = Limit
        fields = (
            "organization",
            "name",
            "scope",
            "subject",
            "model",
            "provider",
            "tag",
            "unit",
            "amount",
            "window_seconds",
            "shadow",
            "active",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["window_seconds"].initial = self.instance.window_s

    def clean_subject(self) -> str | None:
        return _checked_subject(self)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if (seconds := cleaned.pop("window_seconds", None)) is not None:
            cleaned["window_ms"] = seconds * 1000
        return cleaned


def _checked_subject(form: Any) -> str | None:
    """The subject, if it exists; what is fixed was checked when it was made."""
    if not form.instance._state.adding:
        subject: str | None = form.instance.subject
        return subject
    fields = form.cleaned_data
    if "organization" not in fields or "scope" not in fields:
        return None
    try:
        return checked_subject(fields["organization"], fields["scope"], fields["subject"] or None)
    except ValidationError as error:
        raise ValidationError(error.message_dict["subject"]) from error


def _amount(entered: Decimal, unit: str) -> int:
    """The amount in the budget's unit.

    Raises:
        ValueError: saying what to enter instead.
    """
    if unit != "nusd" and entered != entered.to_integral_value():
        raise ValueError("Give a whole number.")
    amount = nusd_from_usd(entered) if unit == "nusd" else int(entered)
    if amount > MAX_CAP_NUSD:
        most = f"{usd_from_nusd(MAX_CAP_NUSD):,.0f} US dollars" if unit == "nusd" else f"{MAX_CAP_NUSD:,}"
        raise ValueError(f"At most {most}.")
    return amount
