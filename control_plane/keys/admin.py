"""Virtual keys in the admin: a new key is shown on the page after it was made, and never again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from control_plane.administration import SecretAdmin, confirmed_action, label_column, leave_dialog
from control_plane.keys import services
from control_plane.keys.forms import KeyForm
from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Organization, User


@admin.register(VirtualKey)
class VirtualKeyAdmin(SecretAdmin[VirtualKey]):
    form = KeyForm
    secret_help = (
        "An application uses it in place of its provider's key, as Authorization: Bearer …, with the gateway's "
        "address as base URL."
    )
    list_display = ("name", "team", "id", "state", "tier", "tags_text", "expires_at", "created_at")
    list_filter = ("team", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "id")
    readonly_fields = ("id", "state", "created_by", "created_at", "revoked_at")
    actions_detail = ("revoke",)
    add_fieldsets = (
        (None, {"fields": ("team", "name", "tags", "allowed_models", "own_tier", "speaks_for_users", "expires_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[VirtualKey]:
        return super().get_queryset(request).select_related("team__organization")

    def organization_of(self, row: VirtualKey) -> Organization:
        return row.team.organization

    @label_column("State", {"active": "success", "expired": "warning", "revoked": "danger", "not live yet": "warning"})
    def state(self, key: VirtualKey) -> str:
        if not key.live:
            return "not live yet"
        if not key.active:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "active"

    @admin.display(description="Tags")
    def tags_text(self, key: VirtualKey) -> str:
        return ", ".join(key.tags)

    def create(self, form: KeyForm, user: User) -> VirtualKey:
        fields: Any = dict(form.cleaned_data)
        key, form.secret = services.create_key(created_by=user, **fields)
        return key

    def change(self, row: VirtualKey, form: KeyForm, actor: str) -> VirtualKey:
        return services.change_key(row.pk, actor=actor, **form.changes)

    @confirmed_action(title="Revoke", description="The key's next request is refused. This cannot be undone.")
    def revoke(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        key = services.revoke_key(object_id, actor=user.get_username())
        messages.success(request, f"{key.name} is revoked.")
        self.tell_when_behind(request, key)
        return leave_dialog(self.page_of(object_id))
