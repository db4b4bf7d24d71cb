"""The organization and its teams over the REST API."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import DestroyModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.api.selectors import organizations_of
from control_plane.api.views import ApiView, OrganizationViewSet
from control_plane.rights.scope import require
from control_plane.teams.models import Department, Membership, Organization, Team, User
from control_plane.teams.people import end_membership
from control_plane.teams.people_serializers import DepartmentSerializer, MembershipSerializer, PersonSerializer
from control_plane.teams.selectors import people_of
from control_plane.teams.serializers import OrganizationName, OrganizationSerializer, TeamSerializer


class OrganizationView(OrganizationViewSet[Organization]):
    """The caller's own organization."""

    scope = "teams"
    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer

    def get_queryset(self) -> QuerySet[Organization]:
        return self.seen(Organization.objects.filter(pk=self.organization.pk))

    def get_object(self) -> Organization:
        self.kwargs["pk"] = self.organization.pk
        return super().get_object()


class TeamViewSet(OrganizationViewSet[Team]):
    scope = "teams"
    queryset = Team.objects.select_related("department")
    serializer_class = TeamSerializer
    lookup_field = "slug"
    filters = {"slug": "slug", "name": "name", "tier": "tier", "department": "department__slug"}


class OrganizationsView(ApiView):
    """The organizations in which the caller has a role; a token is of one of them."""

    scope = "teams"

    @extend_schema(responses=OrganizationName(many=True))
    def get(self, request: Request) -> Response:
        rows = [self.organization] if self.caller.token else organizations_of(self.caller.user)
        return Response(OrganizationName(rows, many=True).data)


class DepartmentViewSet(OrganizationViewSet[Department]):
    scope = "teams"
    queryset = Department.objects.all()
    serializer_class = DepartmentSerializer
    lookup_field = "slug"
    filters = {"slug": "slug", "name": "name"}


class MembershipViewSet(DestroyModelMixin, OrganizationViewSet[Membership]):
    """Who has which role. Memberships are made and ended, never changed."""

    scope = "admin"
    http_method_names = ("get", "post", "delete", "head", "options")
    queryset = Membership.objects.select_related("user", "department", "team")
    serializer_class = MembershipSerializer
    filters = {"username": "user__username", "role": "role", "team": "team__slug", "department": "department__slug"}

    def perform_destroy(self, instance: Membership) -> None:
        require(self.person, "delete", instance)
        end_membership(instance)


class PersonViewSet(OrganizationViewSet[User]):
    """People and service accounts with a role in the organization, and people of whom its directory has told. Nobody is
    deleted: `is_active` keeps them out."""

    scope = "admin"
    queryset = User.objects.all()
    serializer_class = PersonSerializer
    organization_path = "memberships__organization"
    lookup_field = "username"
    lookup_value_regex = "[^/]+"
    filters = {"username": "username", "email": "email"}

    def get_queryset(self) -> QuerySet[User]:
        return self.seen(people_of(self.organization))
