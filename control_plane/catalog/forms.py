"""The catalogue's forms in the admin: prices in US dollars, credentials written and never shown."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
)

from control_plane.administration import OffersNames, PartsWidget, ServiceForm
from control_plane.catalog.credentials import checked_credential
from control_plane.catalog.models import (
    MAX_STAND_INS,
    OPTIONAL_PRICE_FIELDS,
    PRICE_FIELDS,
    Deployment,
    Model,
    Price,
    Provider,
)
from control_plane.catalog.price_book import price_of
from control_plane.catalog.price_text import Amounts, amounts_from, lines_of
from control_plane.catalog.selectors import validate_stand_ins
from control_plane.rights.person import Person
from control_plane.rights.scope import visible
from kong_plugins.llm.money import nusd_from_usd, usd_from_nusd

_COLUMNS: Final = (*PRICE_FIELDS, *OPTIONAL_PRICE_FIELDS)
DEPLOYMENT_FIELDS: Final = (
    *("model", "provider", "provider_model", "protocol", "region", "order", "weight", "longest_audio_s", "active"),
)
PRICE_INPUTS: Final = (*_COLUMNS, "further", "effective_from")


class UsdFormField(forms.DecimalField):
    """An amount in US dollars, cleaned to integer nano-USD."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminDecimalFieldWidget()
        super().__init__(max_digits=19, decimal_places=9, min_value=Decimal(0), widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        amount_usd = super().clean(value)
        return None if amount_usd is None else nusd_from_usd(amount_usd)


class _AllowedField(OffersNames, forms.MultipleChoiceField):
    """Which rows may be used, by name; none chosen means all."""

    rows: ClassVar[type[Model | Provider]]

    def __init__(self, **kwargs: Any) -> None:
        usual = {"required": False, "widget": UnfoldAdminSelect2MultipleWidget, "help_text": "None chosen means all."}
        super().__init__(**(usual | kwargs))

    def offer_to(self, person: Person) -> None:
        self.choices = _choices(self.rows, person)

    def clean(self, value: Any) -> Any:
        return super().clean(value) or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data)


class AllowedModelsField(_AllowedField):
    rows = Model


class AllowedProvidersField(_AllowedField):
    rows = Provider


class OrderedNamesWidget(PartsWidget):
    part_width = "15rem"

    def __init__(self, most: int) -> None:
        positions = (f"{number}." for number in range(1, most + 1))
        super().__init__([UnfoldAdminSelectWidget(attrs={"title": position}) for position in positions])

    def decompress(self, value: Any) -> list[str]:
        return list(value or ())


class OrderedNamesField(forms.MultiValueField):
    """Some names in an order: the first choice, the second, and so on; gaps are closed."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        fields = tuple(forms.ChoiceField(required=False) for _ in range(most))
        widget = OrderedNamesWidget(most)
        super().__init__(fields=fields, widget=widget, require_all_fields=False, required=False, **kwargs)

    def offer(self, names: Iterable[str]) -> None:
        """Let these be chosen."""
        widget: Any = self.widget
        parts: list[Any] = [*self.fields, *widget.widgets]
        for part in parts:
            part.choices = [("", "–"), *((name, name) for name in names)]

    def compress(self, data_list: Any) -> list[str]:
        return [name for name in data_list or () if name]

    def has_changed(self, initial: Any, data: Any) -> bool:
        # Django compares part by part, and of an empty list there is no part.
        return self.compress(data) != list(initial or ())


class UnshownField(forms.CharField):
    """A text that is not shown again, not even on the page that refuses it."""

    def prepare_value(self, value: Any) -> None:
        return None


class ProviderForm(ServiceForm[Provider]):
    fixed = ("organization", "name")

    credential = UnshownField(
        required=False,
        strip=True,
        widget=UnfoldAdminTextareaWidget(attrs={"autocomplete": "off", "spellcheck": "false", "rows": 4}),
        help_text="An API key, or JSON: an AWS access key's access_key_id and secret_access_key (and session_token), a "
        "Google service account's key file, or an Entra application's tenant_id, client_id and client_secret. It is "
        "kept sealed and never shown; leave it empty to keep the present one.",
    )

    class Meta:
        model = Provider
        fields = ("organization", "name", "vendor", "base_url", "authentication", "credential")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "authentication" in self.fields:
            self.fields["authentication"].help_text = "It has to be one that the vendor takes."
        if self.instance._state.adding:
            self.fields["vendor"].initial = "openai"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        kind, credential = cleaned.get("authentication"), cleaned.get("credential")
        cleaned["credential"] = credential or None
        is_new_kind = self.instance._state.adding or "authentication" in self.changed_data
        if kind is not None and (credential or (is_new_kind and kind != "none")):
            try:
                checked_credential(kind, credential or "")
            except forms.ValidationError as error:
                self.add_error(None, error)
        return cleaned


class ModelForm(ServiceForm[Model]):
    fixed = ("organization", "name")

    fall_back_to = OrderedNamesField(
        most=MAX_STAND_INS,
        label="Falls back to",
        help_text="Models that are as good. They are tried in this order where each of its own deployments is failing, "
        "or a limit or a budget has no room for it.",
    )
    degrade_to = OrderedNamesField(
        most=MAX_STAND_INS,
        label="Degrades to",
        help_text="Lesser models. They are tried last, in this order, and first from the percentage on at which a "
        "budget degrades. What those that are named here fall back or degrade to plays no part. A caller never gets a "
        "model that its team or key may not use.",
    )

    class Meta:
        model = Model
        fields = (
            *("organization", "name", "context_window_tokens", "max_output_tokens", "default_output_tokens"),
            *("fall_back_to", "degrade_to"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        models = visible(Model.objects.exclude(pk=self.instance.pk), self.person)
        if not self.instance._state.adding:
            models = models.filter(organization=self.instance.organization_id)
        names = list(models.order_by("name").values_list("name", flat=True).distinct())
        for field in (self.fields["fall_back_to"], self.fields["degrade_to"]):
            offering: Any = field
            offering.offer(names)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        named = {"fall_back_to", "degrade_to"}
        if {"organization", "name", *named} <= set(cleaned):
            others: Any = {field: cleaned[field] for field in named}
            try:
                validate_stand_ins(cleaned["organization"].pk, cleaned["name"], **others)
            except forms.ValidationError as error:
                self.add_error(None, error)
        return cleaned


class DeploymentForm(ServiceForm[Deployment]):
    """With the price in effect; a changed one becomes a new row of the price book."""

    fixed = ("model", "provider")

    input_nusd = UsdFormField(label="Input", required=False)
    cache_read_nusd = UsdFormField(label="Cached input, read", required=False)
    cache_write_nusd = UsdFormField(label="Cached input, written", required=False)
    output_nusd = UsdFormField(label="Output", required=False)
    cache_write_1h_nusd = UsdFormField(
        label="Cached input, written for an hour",
        required=False,
        help_text="Anthropic takes twice the input, which is also what counts where this is empty.",
    )
    further = forms.CharField(
        label="Further prices",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "spellcheck": "false"}),
        help_text="One a line: a kind of token and US dollars per million, as “input_audio 40” or “reasoning 12”; "
        "“each” piece and its price, as “each web_search 0.01”; and, before a colon, the calls for which a line holds: "
        "“priority: output 20”, “above 200000: input 2.5”, “16:30-00:30: input 0.135” (UTC).",
    )
    effective_from = forms.SplitDateTimeField(
        label="From",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="When a changed price comes into effect, in UTC; at once, if this is empty.",
    )

    class Meta:
        model = Deployment
        fields = DEPLOYMENT_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = None if self.instance._state.adding else self.instance.current_price
        if row is not None:
            for name in _COLUMNS:
                amount_nusd = getattr(row, name)
                self.fields[name].initial = None if amount_nusd is None else usd_from_nusd(amount_nusd)
            self.fields["further"].initial = "\n".join(_further_lines(row))

    def clean_region(self) -> str | None:
        return self.cleaned_data["region"] or None

    def clean_further(self) -> Amounts:
        try:
            return amounts_from(self.cleaned_data["further"].splitlines())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        given = {name for name in _COLUMNS if cleaned.get(name) is not None}
        if (given or cleaned.get("further")) and not given.issuperset(PRICE_FIELDS):
            raise forms.ValidationError("Give the price of every kind of token, or none at all.")
        if given and not self.errors:
            try:
                price_of(self._amounts)
            except forms.ValidationError as error:
                self.add_error("further", error.messages)
        return cleaned

    @property
    def price(self) -> Amounts | None:
        """The whole price, or None where none was given."""
        return None if self.cleaned_data[PRICE_FIELDS[0]] is None else self._amounts

    @property
    def _amounts(self) -> Amounts:
        """The price that was entered; what a variant does not name is as it is without it."""
        columns = {name: self.cleaned_data[name] for name in _COLUMNS if self.cleaned_data[name] is not None}
        further = dict(self.cleaned_data["further"])
        variants = [columns | variant for variant in further.pop("variants", [])]
        return columns | further | ({"variants": variants} if variants else {})

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in super().changes.items() if name not in PRICE_INPUTS}


def _choices(rows: type[Model | Provider], person: Person) -> list[tuple[str, str]]:
    seen: QuerySet[Any] = visible(rows._default_manager.all(), person)
    names = seen.order_by("name").values_list("name", flat=True).distinct()
    return [(name, name) for name in names]


def _further_lines(row: Price) -> list[str]:
    """A price's lines without those that have a field of their own."""
    own = tuple(f"{name.removesuffix('_nusd')} " for name in _COLUMNS)
    return [line for line in lines_of(price_of(row.amounts)) if not line.startswith(own)]
