"""Groups of the identity provider in the admin; what django-allauth would show there is nobody's to edit."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from control_plane.administration import ServiceAdmin, ServiceForm, confirmed_action, leave_dialog
from control_plane.identity import services
from control_plane.identity.models import GroupMapping
from control_plane.teams.models import User

for _model in (EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class GroupMappingForm(ServiceForm[GroupMapping]):
    fixed = ("organization", "group", "role", "department", "team")

    class Meta:
        model = GroupMapping
        fields = ("organization", "group", "role", "department", "team")


@admin.register(GroupMapping)
class GroupMappingAdmin(ServiceAdmin[GroupMapping]):
    """A mapping is made and removed, never changed."""

    form = GroupMappingForm
    list_display = ("group", "role", "team", "department", "organization")
    list_filter = ("role", "team")
    search_fields = ("group",)
    actions_detail = ("remove",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[GroupMapping]:
        return super().get_queryset(request).select_related("team", "department", "organization")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_remove_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, "delete", object_id)

    def create(self, form: GroupMappingForm, user: User) -> GroupMapping:
        return services.create_mapping(**form.cleaned_data)

    @confirmed_action(title="Remove", description="Its people lose the role at their next log-in.", permission="remove")
    def remove(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        mapping = self.get_queryset(request).get(pk=object_id)
        services.remove_mapping(mapping)
        messages.success(request, f"{mapping} no more.")
        return leave_dialog(reverse("admin:identity_groupmapping_changelist"))
