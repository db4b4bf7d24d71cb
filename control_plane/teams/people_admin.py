"""Departments, people, service accounts and their roles in the admin."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from control_plane.administration import (
    ReadOnlyInline,
    ServiceAdmin,
    ServiceForm,
    confirmed_action,
    label_column,
    leave_dialog,
)
from control_plane.rights.roles import ROLES
from control_plane.rights.scope import reachable, visible
from control_plane.teams import people
from control_plane.teams.models import Department, Membership, Organization, Team, User


class DepartmentForm(ServiceForm[Department]):
    fixed = ("organization", "slug")

    class Meta:
        model = Department
        fields = ("organization", "slug", "name", "cost_centre")


@admin.register(Department)
class DepartmentAdmin(ServiceAdmin[Department]):
    form = DepartmentForm
    list_display = ("name", "slug", "cost_centre", "organization")
    search_fields = ("name", "slug")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Department]:
        return super().get_queryset(request).select_related("organization")

    def create(self, form: DepartmentForm, user: User) -> Department:
        return people.create_department(**form.cleaned_data)

    def change(self, row: Department, form: DepartmentForm, actor: str) -> Department:
        return people.change_department(row.pk, **form.changes)


class MembershipForm(ServiceForm[Membership]):
    fixed = ("user", "organization", "department", "team", "role")

    class Meta:
        model = Membership
        fields = ("user", "organization", "role", "department", "team")


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin[Membership]):
    """Roles are given and taken away, never changed."""

    form = MembershipForm
    list_display = ("user", "role", "team", "department", "organization")
    list_filter = ("role", "team")
    search_fields = ("user__username", "team__slug", "team__name")
    actions_detail = ("take_away",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "team", "department", "organization")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_take_away_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, "delete", object_id)

    def create(self, form: MembershipForm, user: User) -> Membership:
        return people.create_membership(**form.cleaned_data)

    @confirmed_action(title="Take away", description="The role ends with the next request.", permission="take_away")
    def take_away(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        membership = self.get_queryset(request).get(pk=object_id)
        people.end_membership(membership)
        messages.success(request, f"{membership} no more.")
        return leave_dialog(reverse("admin:teams_membership_changelist"))


class PersonForm(ServiceForm[User]):
    """A person or a service account; a new one has a first role."""

    fixed = ("username", "is_service")
    first: ClassVar[tuple[str, ...]] = ("organization", "role", "department", "team")

    password = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters; none for a service account, and to keep the present one.",
    )
    organization = forms.ModelChoiceField(Organization.objects.all(), widget=UnfoldAdminSelectWidget)
    role = forms.ChoiceField(choices=ROLES, widget=UnfoldAdminSelectWidget)
    department = forms.ModelChoiceField(Department.objects.all(), required=False, widget=UnfoldAdminSelectWidget)
    team = forms.ModelChoiceField(
        Team.objects.all(),
        required=False,
        widget=AutocompleteSelect(Membership._meta.get_field("team"), admin.site),
    )

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "is_active", "is_service")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.first:
            if not self.instance._state.adding:
                self.fields.pop(name, None)
            elif name in self.fields and name != "role":
                field: Any = self.fields[name]
                seen = visible(field.queryset, self.person)
                field.queryset = reachable(seen, self.person, "change") if name == "organization" else seen

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in super().changes.items() if name != "password" or value}


class PersonRoles(ReadOnlyInline):
    model = Membership
    verbose_name_plural = "roles"
    fields = readonly_fields = ("role", "team", "department", "organization")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "team", "department", "organization")


@admin.register(User)
class PersonAdmin(ServiceAdmin[User]):
    form = PersonForm
    inlines = (PersonRoles,)
    list_display = ("username", "first_name", "last_name", "email", "kind", "is_active", "last_login")
    list_filter = ("is_service", "is_active")
    search_fields = ("username", "email", "first_name", "last_name")
    readonly_fields = ("last_login",)

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        own = (*PersonForm.Meta.fields, "password")
        return (*own, "last_login") if obj else (*own, *PersonForm.first)

    def get_inlines(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.inlines if obj else ()

    @label_column("Kind", {"superuser": "danger", "service account": "info"})
    def kind(self, user: User) -> str:
        return "superuser" if user.is_superuser else "service account" if user.is_service else "person"

    def create(self, form: PersonForm, user: User) -> User:
        fields: Any = dict(form.cleaned_data)
        given = {name: value for name, value in fields.items() if name not in PersonForm.first[2:] or value}
        return people.create_person(**given | {"password": fields["password"] or None})

    def change(self, row: User, form: PersonForm, actor: str) -> User:
        return people.change_person(row.pk, **form.changes)

    def tell_when_behind(self, request: HttpRequest, row: User) -> None:
        """Nothing of people is told to gateways."""

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if obj.is_superuser and not request.user.is_superuser:
            raise ValidationError("Only a superuser changes a superuser.")
        super().save_model(request, obj, form, change)
