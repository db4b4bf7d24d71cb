"""Forms of organizations and teams in the admin."""

from __future__ import annotations

from control_plane.administration import ServiceForm
from control_plane.catalog.forms import AllowedModelsField
from control_plane.teams.models import Organization, Team


class OrganizationForm(ServiceForm[Organization]):
    fixed = ("slug",)

    class Meta:
        model = Organization
        fields = ("slug", "name", "time_zone", "fiscal_month_start")


class TeamForm(ServiceForm[Team]):
    fixed = ("organization", "slug")

    allowed_models = AllowedModelsField()

    class Meta:
        model = Team
        fields = ("organization", "slug", "name", "tier", "allowed_models")
