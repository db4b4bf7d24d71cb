"""Organizations, teams and people in the admin."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from control_plane.administration import ReadOnlyInline, ServiceAdmin, label_column
from control_plane.api.exported_lists import ExportingAdmin
from control_plane.teams import (
    people_admin,  # noqa: F401 - registers its pages
    services,
)
from control_plane.teams.forms import OrganizationForm, TeamForm
from control_plane.teams.models import Membership, Organization, Team, User

admin.site.unregister(Group)


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin[Organization]):
    form = OrganizationForm
    list_display = ("name", "slug", "time_zone", "fiscal_month_start", "behind_since")
    readonly_fields = ("behind_since",)
    fieldsets = (
        (None, {"fields": ("slug", "name", "time_zone", "fiscal_month_start", "behind_since")}),
        ("Where calls may go", {"fields": ("regions", "tier_models")}),
        ("Virtual keys", {"fields": ("rotate_keys_every_days",)}),
        ("While Redis is away", {"fields": ("fault_tolerant_tiers", "capless_tiers")}),
    )

    def organization_of(self, row: Organization) -> Organization:
        return row

    def create(self, form: OrganizationForm, user: User) -> Organization:
        return services.create_organization(actor=user.get_username(), **form.cleaned_data)

    def change(self, row: Organization, form: OrganizationForm, actor: str) -> Organization:
        return services.change_organization(row.pk, actor=actor, **form.changes)


class MembershipInline(ReadOnlyInline):
    model = Membership
    fields = readonly_fields = ("user", "role")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "team", "department", "organization")


@admin.register(Team)
class TeamAdmin(ExportingAdmin[Team]):
    form = TeamForm
    inlines = (MembershipInline,)
    exported = (
        *("slug", "name", "department__slug", "cost_centre", "tier", "allowed_models", "allowed_providers"),
        *("preferred_providers", "regions", "created_at"),
    )
    list_display = ("name", "slug", "tier_label", "models_text", "providers_text", "regions_text", "active_keys")
    list_filter = ("tier",)
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("organization", "slug", "name", "tier")}),
        ("Where calls may go", {"fields": ("regions", "allowed_models", "allowed_providers", "preferred_providers")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        keys = (
            apps.get_model("keys", "VirtualKey")
            ._default_manager.filter(team=OuterRef("pk"), revoked_at=None)
            .order_by()
        )
        # Counted for the teams of the page only.
        active = Coalesce(Subquery(keys.values("team").annotate(number=Count("pk")).values("number")), 0)
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
