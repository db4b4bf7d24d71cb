"""Forms of organizations and teams in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from control_plane.administration import ServiceForm
from control_plane.catalog.forms import AllowedModelsField
from control_plane.teams.models import TIERS, Organization, Team


class TiersField(forms.MultipleChoiceField):
    """Some tiers, each with a box to tick; named and explained as the model's field is."""

    def __init__(self, name: str) -> None:
        of_model: Any = Organization._meta.get_field(name)
        super().__init__(
            choices=TIERS,
            required=False,
            widget=UnfoldAdminCheckboxSelectMultipleWidget,
            label=of_model.verbose_name.capitalize(),
            help_text=of_model.help_text,
            initial=of_model.get_default(),
        )


class OrganizationForm(ServiceForm[Organization]):
    fixed = ("slug",)

    fault_tolerant_tiers = TiersField("fault_tolerant_tiers")
    capless_tiers = TiersField("capless_tiers")

    class Meta:
        model = Organization
        fields = ("slug", "name", "time_zone", "fiscal_month_start", "fault_tolerant_tiers", "capless_tiers")


class TeamForm(ServiceForm[Team]):
    fixed = ("organization", "slug")

    allowed_models = AllowedModelsField()

    class Meta:
        model = Team
        fields = ("organization", "slug", "name", "tier", "allowed_models")
