"""The catalogue in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from control_plane.administration import ServiceAdmin
from control_plane.amounts import usd_text
from control_plane.catalog import providers, services
from control_plane.catalog.failing_admin import FailingDeploymentAdmin
from control_plane.catalog.forms import DEPLOYMENT_FIELDS, PRICE_INPUTS, DeploymentForm, ModelForm, ProviderForm
from control_plane.catalog.models import Deployment, Model, Provider
from control_plane.catalog.price_admin import PriceInline
from control_plane.catalog.price_book import set_price
from control_plane.teams.models import Organization, User


@admin.register(Provider)
class ProviderAdmin(ServiceAdmin[Provider]):
    form = ProviderForm
    list_display = ("name", "vendor", "base_url", "authentication", "created_at")
    list_filter = ("vendor",)
    search_fields = ("name", "base_url")

    def create(self, form: ProviderForm, user: User) -> Provider:
        fields = dict(form.cleaned_data)
        credential = fields.pop("credential") or ""
        organization = fields.pop("organization")
        return providers.create_provider(
            organization_id=organization.pk, actor=user.get_username(), credential=credential, **fields
        )

    def change(self, row: Provider, form: ProviderForm, actor: str) -> Provider:
        return providers.change_provider(row.pk, actor=actor, **form.changes)


@admin.register(Model)
class ModelAdmin(ServiceAdmin[Model]):
    form = ModelForm
    list_display = ("name", "context_window_tokens", "max_output_tokens", "falls_back_to", "degrades_to")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("organization", "name")}),
        ("Tokens", {"fields": ("context_window_tokens", "max_output_tokens", "default_output_tokens")}),
        ("When it cannot serve", {"fields": ("fall_back_to", "degrade_to")}),
    )

    @admin.display(description="Falls back to")
    def falls_back_to(self, model: Model) -> str | None:
        return ", ".join(model.fall_back_to) or None

    @admin.display(description="Degrades to")
    def degrades_to(self, model: Model) -> str | None:
        return ", ".join(model.degrade_to) or None

    def create(self, form: ModelForm, user: User) -> Model:
        fields = dict(form.cleaned_data)
        return services.create_model(organization_id=fields.pop("organization").pk, actor=user.get_username(), **fields)

    def change(self, row: Model, form: ModelForm, actor: str) -> Model:
        return services.change_model(row.pk, actor=actor, **form.changes)


@admin.register(Deployment)
class DeploymentAdmin(FailingDeploymentAdmin):
    form = DeploymentForm
    inlines = (PriceInline,)
    list_display = (
        "model",
        "provider",
        "provider_model",
        "region",
        "order",
        "weight",
        "active",
        "calls",
        "input_usd",
        "output_usd",
    )
    readonly_fields = ("failing_now",)
    list_filter = ("provider", "active")
    search_fields = ("model__name", "provider_model")
    fieldsets = (
        (None, {"fields": DEPLOYMENT_FIELDS}),
        ("Price, in US dollars per million tokens", {"fields": PRICE_INPUTS}),
        ("Where its calls go", {"fields": ("failing_now",)}),
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
        effective_from = form.cleaned_data["effective_from"]
        return services.create_deployment(
            price=form.price, effective_from=effective_from, actor=user.get_username(), **fields
        )

    def change(self, row: Deployment, form: DeploymentForm, actor: str) -> Deployment:
        if form.price is not None:
            set_price(row.pk, form.price, actor=actor, effective_from=form.cleaned_data["effective_from"])
        return services.change_deployment(row.pk, actor=actor, **form.changes)
