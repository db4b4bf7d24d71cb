"""Aliases in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from control_plane.administration import ServiceAdmin
from control_plane.routing import services
from control_plane.routing.forms import AliasForm
from control_plane.routing.models import Alias
from control_plane.teams.models import User


@admin.register(Alias)
class AliasAdmin(ServiceAdmin[Alias]):
    form = AliasForm
    list_display = ("name", "team_text", "model", "active")
    list_filter = ("active",)
    search_fields = ("name", "team__name", "model__name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        return super().get_queryset(request).select_related("organization", "team", "model")

    @admin.display(description="For")
    def team_text(self, alias: Alias) -> str:
        return alias.team.name if alias.team else "all teams"

    def create(self, form: AliasForm, user: User) -> Alias:
        fields = dict(form.cleaned_data)
        return services.create_alias(organization_id=fields.pop("organization").pk, actor=user.get_username(), **fields)

    def change(self, row: Alias, form: AliasForm, actor: str) -> Alias:
        return services.change_alias(row.pk, actor=actor, **form.changes)
