"""The price book and discounts in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from control_plane.administration import ReadOnlyAdmin, ReadOnlyInline, ServiceAdmin, ServiceForm, page_action
from control_plane.amounts import usd_text
from control_plane.catalog.models import Deployment, Discount, Price
from control_plane.catalog.price_book import price_of, set_discount
from control_plane.catalog.price_import_page import import_page
from control_plane.catalog.price_text import lines_of
from control_plane.teams.models import User


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

    @admin.display(description="Output")
    def output_usd(self, price: Price) -> str:
        return usd_text(price.output_nusd)

    @admin.display(description="All of it, in US dollars per million tokens or each piece")
    def lines(self, price: Price) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((line,) for line in lines_of(price_of(price.amounts))))

    @admin.display(description="Further prices")
    def further_text(self, price: Price) -> str | None:
        """How much more there is to the price than its columns."""
        variants, pieces = price.further.get("variants", ()), price.further.get("unit_nusd", {})
        rates = len(price.further) - ("variants" in price.further) - ("unit_nusd" in price.further) + len(pieces)
        counts = {"rate": rates, "variant": len(variants)}
        return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count) or None


_PRICE_COLUMNS = (
    *("effective_from", "input_usd", "cache_read_usd", "cache_write_usd", "output_usd"),
    *("further_text", "source", "created_by"),
)


class PriceInline(UsdPrices, ReadOnlyInline):
    model = Price
    verbose_name_plural = "price book"
    fields = readonly_fields = _PRICE_COLUMNS
    show_change_link = True


@admin.register(Price)
class PriceAdmin(UsdPrices, ReadOnlyAdmin[Price]):
    """The price book; rows are added by a deployment's page."""

    list_display = ("deployment", *_PRICE_COLUMNS)
    list_filter = ("deployment__provider", "source")
    fields = readonly_fields = ("deployment", "effective_from", "lines", "source", "created_by", "created_at")
    actions_list = ("import_prices",)

    def has_import_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        allowed: bool = user.has_perm("catalog.add_price")
        return allowed

    @page_action(title="Look for list prices", permission="import")
    def import_prices(self, request: HttpRequest) -> HttpResponse:
        return import_page(request, self.admin_site.each_context(request))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        return super().get_queryset(request).select_related("deployment__model", "deployment__provider")


class DiscountForm(ServiceForm[Discount]):
    effective_from = forms.SplitDateTimeField(
        label="From",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="When it comes into effect, in UTC; at once, if this is empty.",
    )

    class Meta:
        model = Discount
        fields = ("organization", "provider", "deployment", "percent", "effective_from")
        help_texts = {
            "provider": "Neither a provider nor a deployment means all prices of the organization.",
            "percent": "Taken off every price; 0 ends a discount, or excepts a deployment from its provider's.",
        }


@admin.register(Discount)
class DiscountAdmin(ServiceAdmin[Discount]):
    """Discounts are added and come into effect; none is changed."""

    form = DiscountForm
    list_display = ("scope", "percent", "effective_from", "created_by", "created_at")
    list_filter = ("provider",)
    readonly_fields = ("scope", "percent", "effective_from", "created_by", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Discount]:
        rows = super().get_queryset(request)
        return rows.select_related("organization", "provider", "deployment__model", "deployment__provider")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "deployment":
            kwargs["queryset"] = Deployment.objects.select_related("model", "provider")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Discount | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Discount | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_fields(self, request: HttpRequest, obj: Discount | None = None) -> Any:
        return self.readonly_fields if obj else DiscountForm.Meta.fields

    @admin.display(description="On")
    def scope(self, discount: Discount) -> str:
        return str(discount.deployment or discount.provider or discount.organization)

    def create(self, form: DiscountForm, user: User) -> Discount:
        fields: Any = dict(form.cleaned_data)
        return set_discount(organization_id=fields.pop("organization").pk, actor=user.get_username(), **fields)
