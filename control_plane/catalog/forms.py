"""The catalogue's forms in the admin: prices in US dollars, credentials written and never shown."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelect2MultipleWidget,
)

from control_plane.administration import ServiceForm
from control_plane.catalog.models import PRICE_FIELDS, Deployment, Model, Provider
from control_plane.catalog.services import PriceAmounts
from kong_plugins.llm.money import nusd_from_usd, usd_from_nusd


class UsdFormField(forms.DecimalField):
    """An amount in US dollars, cleaned to integer nano-USD."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminDecimalFieldWidget()
        super().__init__(max_digits=19, decimal_places=9, min_value=Decimal(0), widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        amount_usd = super().clean(value)
        return None if amount_usd is None else nusd_from_usd(amount_usd)


class AllowedModelsField(forms.MultipleChoiceField):
    """Which models may be used; none chosen means all."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminSelect2MultipleWidget
        super().__init__(choices=_model_choices, required=False, widget=widget, help_text="None chosen means all.")

    def clean(self, value: Any) -> Any:
        return super().clean(value) or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data)


class ProviderForm(ServiceForm[Provider]):
    fixed = ("organization", "name")

    credential = forms.CharField(
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The provider's API key. It is kept sealed and never shown; leave it empty to keep the present one.",
    )

    class Meta:
        model = Provider
        fields = ("organization", "name", "base_url", "credential")

    def clean_credential(self) -> str | None:
        credential: str = self.cleaned_data["credential"]
        if not credential and self.instance._state.adding:
            raise forms.ValidationError("A provider needs a credential.")
        return credential or None


class ModelForm(ServiceForm[Model]):
    fixed = ("organization", "name")

    class Meta:
        model = Model
        fields = ("organization", "name", "context_window_tokens", "max_output_tokens", "default_output_tokens")


class DeploymentForm(ServiceForm[Deployment]):
    """With the price in effect; a changed one becomes a new row of the price book."""

    fixed = ("model", "provider")

    input_nusd = UsdFormField(label="Input", required=False)
    cache_read_nusd = UsdFormField(label="Cached input, read", required=False)
    cache_write_nusd = UsdFormField(label="Cached input, written", required=False)
    output_nusd = UsdFormField(label="Output", required=False)

    class Meta:
        model = Deployment
        fields = ("model", "provider", "provider_model", "protocol", "region", "order", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        price = None if self.instance._state.adding else self.instance.current_price
        for name in PRICE_FIELDS:
            self.fields[name].initial = usd_from_nusd(getattr(price, name)) if price else None

    def clean_region(self) -> str | None:
        return self.cleaned_data["region"] or None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        given = [name for name in PRICE_FIELDS if cleaned.get(name) is not None]
        if given and len(given) < len(PRICE_FIELDS):
            raise forms.ValidationError("Give the price of every kind of token, or none at all.")
        return cleaned

    @property
    def price(self) -> PriceAmounts | None:
        """The whole price, or None where none was given."""
        amounts: Any = {name: self.cleaned_data[name] for name in PRICE_FIELDS}
        return None if None in amounts.values() else amounts

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in super().changes.items() if name not in PRICE_FIELDS}


def _model_choices() -> list[tuple[str, str]]:
    names = Model.objects.order_by("name").values_list("name", flat=True).distinct()
    return [(name, name) for name in names]
