"""Organizations, teams and people in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from control_plane.administration import ServiceAdmin, label_column
from control_plane.teams import services
from control_plane.teams.forms import OrganizationForm, TeamForm
from control_plane.teams.models import Membership, Organization, Team, User

if TYPE_CHECKING:
    _UserAdmin = DjangoUserAdmin[User]
else:
    from unfold.admin import ModelAdmin

    class _UserAdmin(DjangoUserAdmin, ModelAdmin): ...


admin.site.unregister(Group)


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin[Organization]):
    form = OrganizationForm
    list_display = ("name", "slug", "time_zone", "fiscal_month_start", "behind_since")
    readonly_fields = ("behind_since",)
    fieldsets = (
        (None, {"fields": ("slug", "name", "time_zone", "fiscal_month_start", "behind_since")}),
        ("Where calls may go", {"fields": ("regions", "tier_models")}),
        ("While Redis is away", {"fields": ("fault_tolerant_tiers", "capless_tiers")}),
    )

    def organization_of(self, row: Organization) -> Organization:
        return row

    def create(self, form: OrganizationForm, user: User) -> Organization:
        return services.create_organization(actor=user.get_username(), **form.cleaned_data)

    def change(self, row: Organization, form: OrganizationForm, actor: str) -> Organization:
        return services.change_organization(row.pk, actor=actor, **form.changes)


class MembershipInline(TabularInline):  # type: ignore[misc] # unfold has no types
    model = Membership
    fields = ("user", "role")
    extra = 0


@admin.register(Team)
class TeamAdmin(ServiceAdmin[Team]):
    form = TeamForm
    inlines = (MembershipInline,)
    list_display = ("name", "slug", "tier_label", "models_text", "providers_text", "regions_text", "active_keys")
    list_filter = ("tier",)
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("organization", "slug", "name", "tier")}),
        ("Where calls may go", {"fields": ("regions", "allowed_models", "allowed_providers", "preferred_providers")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        active = Count("keys", filter=Q(keys__revoked_at=None))
        return super().get_queryset(request).select_related("organization").annotate(active_keys=active)

    @label_column("Tier", {"critical": "danger", "normal": "info", "experimental": "warning"})
    def tier_label(self, team: Team) -> str:
        return team.tier

    @admin.display(description="Models")
    def models_text(self, team: Team) -> str:
        return "all" if team.allowed_models is None else ", ".join(team.allowed_models)

    @admin.display(description="Providers")
    def providers_text(self, team: Team) -> str:
        allowed = "all" if team.allowed_providers is None else ", ".join(team.allowed_providers)
        return f"{allowed}; first {', '.join(team.preferred_providers)}" if team.preferred_providers else allowed

    @admin.display(description="Data stays in")
    def regions_text(self, team: Team) -> str | None:
        return ", ".join(team.regions or ()) or None

    @admin.display(description="Active keys")
    def active_keys(self, team: Any) -> int:
        number: int = team.active_keys
        return number

    def create(self, form: TeamForm, user: User) -> Team:
        fields = dict(form.cleaned_data)
        return services.create_team(organization_id=fields.pop("organization").pk, actor=user.get_username(), **fields)

    def change(self, row: Team, form: TeamForm, actor: str) -> Team:
        return services.change_team(row.pk, actor=actor, **form.changes)


@admin.register(User)
class UserAdmin(_UserAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    filter_horizontal = ("user_permissions",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
    )
