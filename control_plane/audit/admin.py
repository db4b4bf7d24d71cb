"""The audit log in the admin: to be read, filtered and exported."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from control_plane.administration import BoundedPaginator, ReadOnlyAdmin, label_column
from control_plane.audit.export import Format, exported
from control_plane.audit.governed import GOVERNED
from control_plane.audit.models import AuditEntry
from control_plane.audit.sentences import differences, sentence

_MODEL_OF: Final = {governed.kind: label.lower() for label, governed in GOVERNED.items()}
_RECENT: Final = 2_000


class KindFilter(admin.SimpleListFilter):
    title = "what"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind.replace("_", " ").capitalize()) for kind in sorted(_MODEL_OF)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class ActorFilter(admin.SimpleListFilter):
    """Offers those who have made any of the last thousands of changes."""

    title = "who"
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = model_admin.get_queryset(request).order_by("-id").values_list("actor", flat=True)[:_RECENT]
        return [(actor, actor) for actor in sorted(set(recent))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(actor=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    list_display = ("recorded_text", "action_label", "sentence_text", "way", "reason")
    list_filter = ("recorded_at", KindFilter, ActorFilter, "action", "way")
    search_fields = ("object_name", "actor", "object_id__exact", "request_id__exact", "reason")
    search_help_text = "A name, an id, a person, a request id or words of a reason"
    list_before_template = "admin/audit/export.html"
    list_fullwidth = True
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator
    readonly_fields = ("sentence_text", "recorded_text", "object_text", "differences_table", "place_text", "hash_text")
    fieldsets = (
        (None, {"fields": ("sentence_text", "reason", "differences_table")}),
        ("What", {"fields": ("kind", "object_text", "object_id", "action", "organization", "team")}),
        ("Who and from where", {"fields": ("actor", "way", "token", "address", "request_id", "database_role")}),
        ("When", {"fields": ("recorded_text", "place_text", "hash_text")}),
    )

    def get_urls(self) -> list[Any]:
        own = path("export.<str:form>", self.admin_site.admin_view(self.export_view), name="audit_export")
        return [own, *super().get_urls()]

    def export_view(self, request: HttpRequest, form: Format) -> StreamingHttpResponse:
        """The entries that the list shows with the same query, as a file."""
        if not self.has_view_permission(request) or form not in ("csv", "jsonl"):
            raise PermissionDenied
        return exported(self.get_changelist_instance(request).get_queryset(request), form)

    @admin.display(description="At, UTC")
    def recorded_text(self, entry: AuditEntry) -> SafeString:
        at = f"{entry.recorded_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        return format_html('<span class="whitespace-nowrap">{}</span>', at)

    @label_column("Action", {"created": "success", "changed": "info", "deleted": "danger", "emptied": "danger"})
    def action_label(self, entry: AuditEntry) -> str:
        return entry.action

    @admin.display(description="What happened")
    def sentence_text(self, entry: AuditEntry) -> str:
        return sentence(entry)

    @admin.display(description="Object")
    def object_text(self, entry: AuditEntry) -> str:
        """Its name, and the way to its page and to the rest of its history."""
        asked = f"{reverse('admin:audit_auditentry_changelist')}?kind={entry.kind}&object_id={entry.object_id}"
        links = [(asked, "its history")]
        try:
            name = _MODEL_OF.get(entry.kind, "").replace(".", "_")
            links.append((reverse(f"admin:{name}_change", args=[entry.object_id]), "its page"))
        except NoReverseMatch:
            pass  # Some kinds have no page of their own.
        linked: Iterable[tuple[str, str]] = links
        return format_html(
            "{} ({})",
            entry.object_name,
            format_html_join(", ", '<a class="text-primary-600" href="{}">{}</a>', linked),
        )

    @admin.display(description="Before and after")
    def differences_table(self, entry: AuditEntry) -> str:
        cell = '<td class="align-top break-words px-3 py-2">{}</td>'
        lines = format_html_join(
            "",
            f'<tr class="border-base-200 border-t dark:border-base-800">{cell * 3}</tr>',
            ((row.name, row.before, row.after) for row in differences(entry)),
        )
        return format_html(
            '<div class="overflow-x-auto w-full"><table class="text-left w-full"><thead><tr>'
            '<th class="px-3 py-2">Column</th><th class="px-3 py-2">Before</th><th class="px-3 py-2">After</th>'
            "</tr></thead><tbody>{}</tbody></table></div>",
            lines,
        )

    @admin.display(description="Hash")
    def hash_text(self, entry: AuditEntry) -> SafeString:
        return format_html('<span class="break-all">{}</span>', entry.hash)

    @admin.display(description="Place in the chain")
    def place_text(self, entry: AuditEntry) -> str:
        if entry.sequence is None:
            return "not yet; within seconds"
        return f"{entry.sequence:,} of {entry.organization or 'the installation'}"
