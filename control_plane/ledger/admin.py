"""The ledger in the admin: everything to be read, nothing to be changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from control_plane.administration import MOST_CHOICES, BoundedPaginator, ReadOnlyAdmin, label_column
from control_plane.amounts import amount_text
from control_plane.api.exported_lists import ExportingAdmin
from control_plane.catalog.models import Model
from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import DeadLetter, HourRollup, Reconciliation, RefusalCount, UsageEvent
from control_plane.ledger.refusals_page import RefusalsPage
from control_plane.ledger.selectors import REMARKED, REMARKS
from control_plane.ledger.spend_page import SpendPage
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible
from control_plane.teams.models import Team


class NamedFilter(admin.SimpleListFilter):
    """Filters by a text column, offering the names that another table knows, unless there are too many to read."""

    names: type[Team | Model]
    name_field: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows: QuerySet[Any] = self.names._default_manager.all()
        seen = visible(rows, person_of(request.user))
        names = seen.order_by(self.name_field).values_list(self.name_field, flat=True).distinct()
        found = [(name, name) for name in names[: MOST_CHOICES + 1]]
        chosen = [(value, value)] if (value := self.value()) else []
        return found if len(found) <= MOST_CHOICES else chosen

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class TeamFilter(NamedFilter):
    title = "team"
    parameter_name = "team"
    names = Team
    name_field = "slug"


class ModelFilter(NamedFilter):
    title = "model"
    parameter_name = "request_model"
    names = Model
    name_field = "name"


class RemarkFilter(admin.SimpleListFilter):
    """Filters by what befell a call on its way."""

    title = "what befell it"
    parameter_name = "remark"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(REMARKS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(REMARKED[value]) if value in REMARKED else queryset


@admin.register(UsageEvent)
class UsageEventAdmin(ExportingAdmin[UsageEvent], ReadOnlyAdmin[UsageEvent]):
    exported = (
        *("reserved_at", "event_id", "request_id", "kind", "outcome", "team", "key", "user", "tags", "provider"),
        *("request_model", "response_model", "input_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("output_tokens", "amount_nusd", "quality", "refusing_scope", "latency_ms"),
    )
    list_display = (
        *("reserved_at_utc", "kind_label", "team", "key_name", "user", "request_model"),
        *("tokens", "amount", "quality", "remarks", "request_id"),
    )
    list_filter = ("reserved_at", "kind", TeamFilter, ModelFilter, "quality", RemarkFilter)
    search_fields = ("request_id__exact",)
    search_help_text = "A whole request id"
    list_fullwidth = True
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageEvent]:
        names = VirtualKey.objects.filter(pk=OuterRef("key")).values("name")
        return super().get_queryset(request).annotate(found_key_name=Subquery(names[:1]))

    @label_column("Kind", {"posted": "success", "expired": "danger", "refused": "warning", "adjusted": "info"})
    def kind_label(self, event: UsageEvent) -> str:
        return event.kind

    @admin.display(description="Key")
    def key_name(self, event: UsageEvent) -> str:
        return getattr(event, "found_key_name", None) or event.key

    @admin.display(description="Reserved at, UTC")
    def reserved_at_utc(self, event: UsageEvent) -> SafeString:
        at = f"{event.reserved_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        return format_html('<span class="whitespace-nowrap">{}</span>', at)

    @admin.display(description="Reserved at")
    def reserved_text(self, event: UsageEvent) -> str:
        return _instant_text(event.reserved_at)

    @admin.display(description="Posted at")
    def posted_text(self, event: UsageEvent) -> str:
        return _instant_text(event.posted_at)

    @admin.display(description="Tokens in, out")
    def tokens(self, event: UsageEvent) -> str:
        return f"{event.input_tokens:,}, {event.output_tokens:,}"

    @admin.display(description="Amount")
    def amount(self, event: UsageEvent) -> str:
        return "unknown" if event.amount_nusd is None else amount_text(event.amount_nusd, "nusd")

    @admin.display(description="Hold")
    def hold(self, event: UsageEvent) -> str:
        return amount_text(event.hold_nusd, "nusd")

    @admin.display(description="What befell it")
    def remarks(self, event: UsageEvent) -> SafeString:
        remarks = {
            f"degraded from {event.degraded_from}": event.degraded_from,
            f"waited {(event.queued_ms or 0) / 1000:.1f} s": event.queued_ms,
            "refused by a shadow": event.shadow_refusals,
        }
        text = ", ".join(text for text, befell in remarks.items() if befell)
        return format_html('<span class="whitespace-nowrap">{}</span>', text)

    readonly_fields = ("amount", "hold", "key_name", "reserved_text", "posted_text")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("request_id", "event_id", "kind", "outcome", "http_status"),
                    *("refusing_scope", "shadow_refusals"),
                )
            },
        ),
        ("Who", {"fields": ("organization", "team", "key_name", "key", "user", "tags", "tier")}),
        (
            "Where",
            {
                "fields": (
                    "protocol",
                    "provider",
                    "deployment",
                    "region",
                    "request_model",
                    "degraded_from",
                    "response_model",
                    "candidates",
                )
            },
        ),
        (
            "How much",
            {
                "fields": (
                    *("amount", "hold", "quality", "price_version", "service_tier"),
                    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
                    *("input_audio_tokens", "cache_read_audio_tokens", "input_image_tokens"),
                    *("cache_read_image_tokens", "input_video_tokens"),
                    *("output_tokens", "reasoning_tokens"),
                    *("output_audio_tokens", "output_image_tokens", "output_video_tokens", "units"),
                    *("input_bound_tokens", "requested_max_tokens", "granted_max_tokens"),
                )
            },
        ),
        (
            "When",
            {
                "fields": (
                    *("reserved_text", "posted_text", "queued_ms", "latency_ms", "first_token_ms"),
                    *("seq", "release", "trace_id"),
                )
            },
        ),
    )


@admin.register(HourRollup)
class SpendAdmin(ReadOnlyAdmin[HourRollup]):
    """The list of sums is a page of its own."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        page: Any = SpendPage.as_view(model_admin=self)
        response: HttpResponse = page(request)
        return response


@admin.register(RefusalCount)
class RefusalsAdmin(ReadOnlyAdmin[RefusalCount]):
    """What was refused is told on a page of its own, with the refusals that are written as events."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        page: Any = RefusalsPage.as_view(model_admin=self)
        response: HttpResponse = page(request)
        return response

    def get_urls(self) -> list[Any]:
        page: Any = RefusalsPage.as_view(model_admin=self, is_file=True)
        own = path("export.csv", self.admin_site.admin_view(page), name="ledger_refusalcount_export")
        return [own, *super().get_urls()]


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin[DeadLetter]):
    list_display = ("created_at", "organization", "type", "entry_id", "reason")
    fields = readonly_fields = (
        "created_at",
        "organization",
        "type",
        "entry_id",
        "deliveries",
        "reason",
        "payload_text",
    )
    ordering = ("-id",)

    @admin.display(description="Payload")
    def payload_text(self, letter: DeadLetter) -> str:
        return bytes(letter.payload).decode(errors="backslashreplace")


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin[Reconciliation]):
    list_display = ("organization", "state", "checked_at", "since", "difference")

    @label_column("Books", {"agree": "success", "differ": "danger"})
    def state(self, row: Reconciliation) -> str:
        return "differ" if row.difference else "agree"


def _instant_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"
