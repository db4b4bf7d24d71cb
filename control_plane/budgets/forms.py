"""Forms of budgets and limits in the admin: money in US dollars, windows in seconds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from control_plane.administration import ServiceForm
from control_plane.budgets.form_fields import SecondsFormField, TierSharesField
from control_plane.budgets.models import MAX_WINDOW_MS, Budget, Limit, ScopedRow
from control_plane.budgets.selectors import checked_subject
from control_plane.budgets.validators import MAX_QUEUE_MS
from kong_plugins.llm.money import MAX_CAP_NUSD, nusd_from_usd, usd_from_nusd


class ScopedForm(ServiceForm[ScopedRow]):
    """What the forms of budgets and limits share."""

    fixed: ClassVar[tuple[str, ...]] = ("organization", "scope", "subject", "model", "provider", "tag", "unit")

    queue_ms = SecondsFormField(
        label="Wait in line, in seconds",
        required=False,
        initial=0,
        min_value=0,
        max_value=MAX_QUEUE_MS // 1000,
        help_text="How long a call that does not fit waits for its turn before it is refused; 0 refuses at once. "
        "More important tiers go first, then who came first.",
    )
    tier_shares_percent = TierSharesField(
        label="At most, in percent of the amount",
        help_text="What the calls of a tier may use together, so that experiments leave something to production; "
        "100 is all of it, 0 is nothing. Shares may add up to more than 100.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, all_of_them in (("model", "All models"), ("provider", "All providers")):
            field: Any = self.fields.get(name)
            if field is not None:
                field.empty_label = all_of_them

    def clean_subject(self) -> str | None:
        """The subject, if it exists; what is fixed was checked when it was made."""
        if not self.instance._state.adding:
            subject: str | None = self.instance.subject
            return subject
        fields = self.cleaned_data
        if "organization" not in fields or "scope" not in fields:
            return None
        try:
            return checked_subject(fields["organization"], fields["scope"], fields["subject"] or None)
        except ValidationError as error:
            raise ValidationError(error.message_dict["subject"]) from error


class BudgetForm(ScopedForm[Budget]):
    fixed = (*ScopedForm.fixed, "period")
    writes: ClassVar[dict[str, str]] = {"entered_amount": "amount"}

    entered_amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="In US dollars for money; else a number of tokens or requests. It counts at once.",
    )
    carry_over_max = forms.DecimalField(
        label="Carry over at most",
        required=False,
        min_value=Decimal(0),
        initial=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="What a period leaves unspent is added to the next one's cap, but no more than this; 0 is nothing.",
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
            *("entered_amount", "carry_over_max", "hard", "shadow", "active", "thresholds_percent"),
            *("queue_ms", "degrade_at_percent", "tier_shares_percent"),
        )
        labels = {"degrade_at_percent": "Degrade from, in percent"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            budget = self.instance
            self.fields["entered_amount"].initial = entered_from(budget.amount, budget.unit)
            self.initial["carry_over_max"] = entered_from(budget.carry_over_max, budget.unit)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        entered = cleaned.pop("entered_amount", None)
        if entered is not None:
            # The row's own rules, which come next, look at it too.
            cleaned["amount"] = self.instance.amount = self._amount("entered_amount", entered)
        cleaned["carry_over_max"] = self._amount("carry_over_max", cleaned.get("carry_over_max") or Decimal(0))
        return cleaned

    def _amount(self, field: str, entered: Decimal) -> int:
        """The amount in the budget's unit, or 0 with an error of the field."""
        try:
            return amount_from(entered, self.cleaned_data.get("unit", "nusd"))
        except ValueError as error:
            self.add_error(field, str(error))
            return 0

    @property
    def changes(self) -> dict[str, Any]:
        names = (self.writes.get(name, name) for name in self.changed_data)
        return {name: self.cleaned_data[name] for name in names}


class LimitForm(ScopedForm[Limit]):
    fixed = (*ScopedForm.fixed, "window_ms")

    window_ms = SecondsFormField(
        label="Window, in seconds",
        min_value=1,
        max_value=MAX_WINDOW_MS // 1000,
        initial=60_000,
        help_text="No span of this length ever admits more than the amount; concurrent calls have no window.",
    )

    class Meta:
        model = Limit
        fields = (
            *("organization", "name", "scope", "subject", "model", "provider", "tag", "unit"),
            *("amount", "window_ms", "shadow", "active", "queue_ms", "tier_shares_percent"),
        )


def entered_from(amount: int, unit: str) -> Decimal | int:
    return usd_from_nusd(amount) if unit == "nusd" else amount


def amount_from(entered: Decimal, unit: str) -> int:
    """The amount in the budget's unit.

    Raises:
        ValueError: saying what to enter instead.
    """
    most = usd_from_nusd(MAX_CAP_NUSD) if unit == "nusd" else Decimal(MAX_CAP_NUSD)
    if entered > most:
        raise ValueError(f"At most {most:,.0f}{' US dollars' if unit == 'nusd' else ''}.")
    if unit == "nusd":
        return nusd_from_usd(entered)
    if entered != entered.to_integral_value():
        raise ValueError("Give a whole number.")
    return int(entered)
