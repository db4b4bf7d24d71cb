"""Releases in the admin: read only, with the document that gateways enforce."""

from __future__ import annotations

from typing import Final

import msgspec
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from control_plane.administration import ReadOnlyAdmin, label_column
from control_plane.releases.models import Release
from control_plane.releases.selectors import document_of
from kong_plugins.llm.release import encode_policy

_LONGEST_SHOWN_BYTES: Final = 200_000


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin[Release]):
    list_display = ("number", "organization", "state", "created_by", "created_at", "published_at", "short_checksum")
    list_filter = ("organization", "created_by")
    fields = readonly_fields = (
        *("organization", "number", "state", "created_by", "created_at", "published_at"),
        *("whole_checksum", "document_text"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        return super().get_queryset(request).select_related("organization").defer("document")

    @label_column("State", {"published": "success", "not live yet": "warning"})
    def state(self, release: Release) -> str:
        return "published" if release.live else "not live yet"

    @admin.display(description="Checksum")
    def short_checksum(self, release: Release) -> str:
        return release.checksum[:12]

    @admin.display(description="Checksum")
    def whole_checksum(self, release: Release) -> SafeString:
        return format_html('<span style="overflow-wrap: anywhere">{}</span>', release.checksum)

    @admin.display(description="Document")
    def document_text(self, release: Release) -> SafeString:
        document = msgspec.json.format(encode_policy(document_of(release)), indent=2)
        if len(document) > _LONGEST_SHOWN_BYTES:
            return format_html(
                "It has {} bytes, which are too many for a page: GET /api/v1/releases/{} has it.",
                f"{len(document):,}",
                release.number,
            )
        style = "overflow-wrap: anywhere; white-space: pre-wrap"
        return format_html('<pre class="text-xs" style="{}">{}</pre>', style, document.decode())
