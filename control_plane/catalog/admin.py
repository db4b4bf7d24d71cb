"""The catalogue in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from control_plane.administration import ReadOnlyAdmin, ReadOnlyInline, ServiceAdmin
from control_plane.amounts import usd_text
from control_plane.catalog import services
from control_plane.catalog.forms import DeploymentForm, ModelForm, ProviderForm
from control_plane.catalog.models import OPTIONAL_PRICE_FIELDS, PRICE_FIELDS, Deployment, Model, Price, Provider
from control_plane.teams.models import Organization, User


@admin.register(Provider)
class ProviderAdmin(ServiceAdmin[Provider]):
    form = ProviderForm
    list_display = ("name", "base_url", "created_at")
    search_fields = ("name", "base_url")

    def create(self, form: ProviderForm, user: User) -> Provider:
        fields = form.cleaned_data
        return services.create_provider(
            organization_id=fields["organization"].pk,
            name=fields["name"],
            base_url=fields["base_url"],
            credential=fields["credential"],
            actor=user.get_username(),
        )

    def change(self, row: Provider, form: ProviderForm, actor: str) -> Provider:
        return services.change_provider(row.pk, actor=actor, **form.changes)


@admin.register(Model)
class ModelAdmin(ServiceAdmin[Model]):
    form = ModelForm
    list_display = ("name", "context_window_tokens", "max_output_tokens", "default_output_tokens", "degrades_to")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("organization", "name")}),
        ("Tokens", {"fields": ("context_window_tokens", "max_output_tokens", "default_output_tokens")}),
        ("When there is no room for it", {"fields": ("degrade_to",)}),
    )

    @admin.display(description="Degrades to")
    def degrades_to(self, model: Model) -> str | None:
        return ", ".join(model.degrade_to) or None

    def create(self, form: ModelForm, user: User) -> Model:
        fields = dict(form.cleaned_data)
        return services.create_model(organization_id=fields.pop("organization").pk, actor=user.get_username(), **fields)

    def change(self, row: Model, form: ModelForm, actor: str) -> Model:
        return services.change_model(row.pk, actor=actor, **form.changes)


class UsdPrices:
    """The columns of a price, in US dollars per million tokens."""

    @admin.display(description="Input, USD per million")
    def input_usd(self, price: Price) -> str:
        return usd_text(price.input_nusd)

    @admin.display(description="Cache read")
    def cache_read_usd(self, price: Price) -> str:
        return usd_text(price.cache_read_nusd)

    @admin.display(description="Cache write")
    def cache_write_usd(self, price: Price) -> str:
        return usd_text(price.cache_write_nusd)

    @admin.display(description="Cache write, for an hour")
    def cache_write_1h_usd(self, price: Price) -> str | None:
        return None if price.cache_write_1h_nusd is None else usd_text(price.cache_write_1h_nusd)

    @admin.display(description="Output")
    def output_usd(self, price: Price) -> str:
        return usd_text(price.output_nusd)


_PRICE_COLUMNS = (
    "effective_from",
    "input_usd",
    "cache_read_usd",
    "cache_write_usd",
    "cache_write_1h_usd",
    "output_usd",
    "source",
    "created_by",
)


class PriceInline(UsdPrices, ReadOnlyInline):
    model = Price
    verbose_name_plural = "price book"
    fields = readonly_fields = _PRICE_COLUMNS


@admin.register(Deployment)
class DeploymentAdmin(ServiceAdmin[Deployment]):
    form = DeploymentForm
    inlines = (PriceInline,)
    list_display = ("model", "provider", "provider_model", "order", "active", "input_usd", "output_usd")
    list_filter = ("provider", "active")
    search_fields = ("model__name", "provider_model")
    fieldsets = (
        (None, {"fields": ("model", "provider", "provider_model", "protocol", "region", "order", "active")}),
        ("Price, in US dollars per million tokens", {"fields": (*PRICE_FIELDS, *OPTIONAL_PRICE_FIELDS)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        rows = super().get_queryset(request)
        return rows.select_related("model__organization", "provider").prefetch_related("prices")

    def get_inlines(self, request: HttpRequest, obj: Deployment | None = None) -> Any:
        return self.inlines if obj else ()

    def organization_of(self, row: Deployment) -> Organization:
        return row.model.organization

    @admin.display(description="Input, USD per million")
    def input_usd(self, row: Deployment) -> str | None:
        return usd_text(row.current_price.input_nusd) if row.current_price else None

    @admin.display(description="Output, USD per million")
    def output_usd(self, row: Deployment) -> str | None:
        return usd_text(row.current_price.output_nusd) if row.current_price else None

    def create(self, form: DeploymentForm, user: User) -> Deployment:
        fields: Any = {name: form.cleaned_data[name] for name in form.Meta.fields}
        return services.create_deployment(price=form.price, actor=user.get_username(), **fields)

    def change(self, row: Deployment, form: DeploymentForm, actor: str) -> Deployment:
        if form.price is not None:
            services.set_price(row.pk, form.price, actor=actor)
        return services.change_deployment(row.pk, actor=actor, **form.changes)


@admin.register(Price)
class PriceAdmin(UsdPrices, ReadOnlyAdmin[Price]):
    """The price book; rows are added by a deployment's page."""

    list_display = ("deployment", *_PRICE_COLUMNS)
    list_filter = ("deployment__provider", "source")
    fields = readonly_fields = ("deployment", *_PRICE_COLUMNS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        return super().get_queryset(request).select_related("deployment__model", "deployment__provider")
