"""Virtual keys in the admin: a secret is shown on the page after it was made, and never again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.timesince import timesince

from control_plane.administration import SecretAdmin, confirmed_action, label_column, leave_dialog, page_action
from control_plane.api.exported_lists import ExportingAdmin
from control_plane.keys import services
from control_plane.keys.filters import DueFilter, StateFilter, UnusedFilter
from control_plane.keys.forms import KeyForm, RotationForm
from control_plane.keys.models import VirtualKey
from control_plane.keys.selectors import with_use
from control_plane.rights.person import person_of
from control_plane.rights.scope import changeable
from control_plane.teams.models import Organization, User

_STATES = {
    "active": "success",
    "former secret good": "info",
    "rotation due": "warning",
    "expires soon": "warning",
    "expired": "warning",
    "revoked": "danger",
    "not live yet": "warning",
}


@admin.register(VirtualKey)
class VirtualKeyAdmin(ExportingAdmin[VirtualKey], SecretAdmin[VirtualKey]):
    form = KeyForm
    secret_help = (
        "An application uses it in place of its provider's key, as Authorization: Bearer …, with the gateway's "
        "address as base URL."
    )
    exported = (
        *("id", "name", "team__slug", "application", "contact", "description", "tags", "own_tier"),
        *("allowed_models", "allowed_routes", "allowed_networks", "personal", "created_at", "created_by__username"),
        *("rotated_at", "expires_at", "revoked_at"),
    )
    list_display = ("name", "team", "application", "state", "last_used", "rotation_due", "expires_at", "id")
    list_filter = (StateFilter, DueFilter, UnusedFilter, "team")
    search_fields = ("name", "id", "application", "contact", "description", "team__slug", "team__name")
    readonly_fields = (
        *("id", "state", "last_used", "rotated_at", "rotation_due", "former_secret", "created_by", "created_at"),
        "revoked_at",
    )
    actions = ("revoke_chosen",)
    actions_detail = ("rotate", "end_grace", "revoke")
    _fields: ClassVar[Any] = (
        ("What it is", {"fields": ("team", "name", "application", "tags", "description", "contact")}),
        (
            "What it may do",
            {
                "fields": (
                    *("allowed_models", "allowed_routes", "allowed_networks", "own_tier", "speaks_for_users"),
                    *("personal", "rotate_every_days", "expires_at"),
                )
            },
        ),
    )
    add_fieldsets = _fields
    fieldsets: ClassVar[Any] = (*_fields, ("What has become of it", {"fields": readonly_fields}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[VirtualKey]:
        return with_use(super().get_queryset(request).select_related("team__organization"))

    def organization_of(self, row: VirtualKey) -> Organization:
        return row.team.organization

    @label_column("State", _STATES)
    def state(self, key: Any) -> str:
        if not key.live:
            return "not live yet"
        if key.state != "active":
            return str(key.state)
        if key.former_is_good:
            return "former secret good"
        if key.is_rotation_due:
            return "rotation due"
        return "expires soon" if key.is_expiring else "active"

    @admin.display(description="Last used", ordering="used_at")
    def last_used(self, key: Any) -> str:
        return f"{_ago(key.used_at)}, {key.used_protocol.replace('_', ' ')}" if key.used_at else "never"

    @admin.display(description="Rotation due", ordering="due_at")
    def rotation_due(self, key: VirtualKey) -> datetime | None:
        return key.rotation_due_at if key.active else None

    @admin.display(description="Former secret")
    def former_secret(self, key: Any) -> str:
        if not key.former_is_good:
            return "ended" if key.generation > 1 else "none"
        used = f"last used {_ago(key.former_used_at)}" if key.former_used_at else "never used"
        return f"good until {key.former_until:%Y-%m-%d %H:%M} UTC; {used}"

    def create(self, form: KeyForm, user: User) -> VirtualKey:
        fields: Any = dict(form.cleaned_data)
        key, form.secret = services.create_key(created_by=user, **fields)
        return key

    def change(self, row: VirtualKey, form: KeyForm, actor: str) -> VirtualKey:
        return services.change_key(row.pk, actor=actor, **form.changes)

    @page_action(title="Rotate", permission="change")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that asks how long the former secret is to go on, and then shows the new one."""
        user: Any = request.user
        key = changeable(self.get_queryset(request), person_of(user)).get(pk=object_id)
        form = RotationForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            grace = timedelta(hours=form.cleaned_data["grace_hours"])
            try:
                key, full_key = services.rotate_key(key.pk, actor=user.get_username(), grace=grace)
            except ValidationError as error:
                form.add_error(None, error.messages)
            else:
                self.tell_when_behind(request, key)
                return self.secret_page(request, key, full_key, f"The new secret of {key}")
        context = {"title": f"Rotate {key}", "key": key, "former_secret": self.former_secret(key), "form": form}
        return self._page(request, "rotate", context)

    @confirmed_action(
        title="End former secret", description="The next request with the secret before the newest is refused."
    )
    def end_grace(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        key = services.end_grace(object_id, actor=user.get_username())
        messages.success(request, f"Only the newest secret of {key.name} is good.")
        self.tell_when_behind(request, key)
        return leave_dialog(self.page_of(object_id))

    @confirmed_action(title="Revoke", description="The key's next request is refused. This cannot be undone.")
    def revoke(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        key = services.revoke_key(object_id, actor=user.get_username())
        messages.success(request, f"{key.name} is revoked.")
        self.tell_when_behind(request, key)
        return leave_dialog(self.page_of(object_id))

    @admin.action(description="Revoke", permissions=["change"])
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[VirtualKey]) -> HttpResponse | None:
        """Ask, and then end the use of those of the chosen keys that the person may change."""
        user: Any = request.user
        keys = list(changeable(queryset, person_of(user)).filter(revoked_at=None))
        if not keys:
            messages.info(request, "None of these keys is in use and yours to revoke.")
            return None
        if "confirmed" not in request.POST:
            context = {"title": f"Revoke {len(keys)} keys", "keys": keys, "others": queryset.count() - len(keys)}
            return self._page(request, "revoke", context)
        number = services.revoke_keys([key.pk for key in keys], actor=user.get_username())
        messages.success(request, f"{number} keys are revoked.")
        for organization_key in {key.team.organization_id: key for key in keys}.values():
            self.tell_when_behind(request, organization_key)
        return None

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = self.admin_site.each_context(request) | {"opts": self.opts}
        return TemplateResponse(request, f"admin/keys/{name}.html", shared | context)


def _ago(instant: datetime) -> str:
    """How long ago, in one unit."""
    if timezone.now() - instant < timedelta(minutes=2):
        return "just now"
    return f"{timesince(instant, depth=1)} ago"
