"""Departments, people and memberships as the REST API shows and takes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.api.callers import caller_of
from control_plane.api.serializers import FlagField, OwnedBySlug, StrictSerializer
from control_plane.rights.person import person_of
from control_plane.rights.roles import ROLES
from control_plane.rights.scope import visible
from control_plane.teams import people
from control_plane.teams.models import Department, Membership, Team, User


class DepartmentSerializer(StrictSerializer[Department]):
    """Some teams together, with an owner above theirs."""

    fixed = frozenset({"slug"})

    slug = serializers.CharField(max_length=63)
    name = serializers.CharField(max_length=100)
    cost_centre = serializers.CharField(max_length=64, allow_blank=True, default="")
    created_at = serializers.DateTimeField(read_only=True)

    def create(self, validated_data: dict[str, Any]) -> Department:
        return people.create_department(organization=self.organization, **validated_data)

    def update(self, instance: Department, validated_data: dict[str, Any]) -> Department:
        return people.change_department(instance.pk, **validated_data)


@extend_schema_field(OpenApiTypes.STR)
class SeenPerson(serializers.SlugRelatedField[User]):
    """A person by user name, of those whom the caller sees."""

    def get_queryset(self) -> Any:
        return visible(User.objects.all(), person_of(caller_of(self.context["request"]).user))


class MembershipSerializer(StrictSerializer[Membership]):
    """A role of somebody: of the whole organization, or for one department or team. It is made and ended, never
    changed."""

    id = serializers.IntegerField(read_only=True)
    username = SeenPerson(source="user", slug_field="username")
    role = serializers.ChoiceField(choices=ROLES)
    department = OwnedBySlug(slug_field="slug", queryset=Department.objects.all(), allow_null=True, default=None)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.all(), allow_null=True, default=None)

    def create(self, validated_data: dict[str, Any]) -> Membership:
        return people.create_membership(organization=self.organization, **validated_data)


class PersonSerializer(StrictSerializer[User]):
    """Somebody who administers, or a service account: a program that acts by its API tokens only.

    `role`, `department` and `team` are the first membership; further ones are made by themselves.
    """

    fixed = frozenset({"username", "is_service"})

    username = serializers.CharField(max_length=150)
    first_name = serializers.CharField(max_length=150, allow_blank=True, default="")
    last_name = serializers.CharField(max_length=150, allow_blank=True, default="")
    email = serializers.EmailField(allow_blank=True, default="")
    is_service = FlagField(default=False)
    is_active = FlagField(default=True)
    password = serializers.CharField(write_only=True, required=False, trim_whitespace=False, max_length=200)
    role = serializers.ChoiceField(choices=ROLES, write_only=True)
    department = OwnedBySlug(slug_field="slug", queryset=Department.objects.all(), write_only=True, required=False)
    team = OwnedBySlug(slug_field="slug", queryset=Team.objects.all(), write_only=True, required=False)
    last_login = serializers.DateTimeField(read_only=True, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and (given := {"role", "department", "team"} & set(attrs)):
            raise serializers.ValidationError(dict.fromkeys(given, "Make or end a membership instead."))
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        return people.create_person(organization=self.organization, **validated_data)

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        return people.change_person(instance.pk, **validated_data)
