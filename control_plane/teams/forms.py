"""Forms of organizations and teams in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminTextInputWidget,
)

from control_plane.administration import OffersNames, PartsWidget, ServiceForm
from control_plane.catalog.forms import AllowedModelsField, AllowedProvidersField, OrderedNamesField
from control_plane.catalog.models import Provider
from control_plane.names import validate_slug
from control_plane.rights.person import Person
from control_plane.rights.scope import visible
from control_plane.teams.models import MAX_PREFERRED, TIERS, Organization, Team, all_tiers
from control_plane.teams.selectors import validate_organization, validate_team
from kong_plugins.llm.release import Tier


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


class TierModelsWidget(PartsWidget):
    part_width = "20rem"

    def __init__(self) -> None:
        super().__init__([UnfoldAdminSelect2MultipleWidget(attrs={"title": title}) for _, title in TIERS])

    def decompress(self, value: Any) -> list[Any]:
        return [(value or {}).get(tier, []) for tier in all_tiers()]


class TierModelsField(OffersNames, forms.MultiValueField):
    """The models that a tier may use, for each tier; none chosen means all."""

    def __init__(self, **kwargs: Any) -> None:
        fields = tuple(AllowedModelsField() for _ in TIERS)
        super().__init__(fields=fields, widget=TierModelsWidget(), require_all_fields=False, required=False, **kwargs)

    def offer_to(self, person: Person) -> None:
        fields: Any = self.fields
        widget: Any = self.widget
        for field, part in zip(fields, widget.widgets, strict=True):
            field.offer_to(person)
            part.choices = field.choices

    def compress(self, data_list: Any) -> dict[Tier, list[str]]:
        return {tier: names for tier, names in zip(all_tiers(), data_list or (), strict=False) if names}


class RegionsField(SimpleArrayField):
    """Some regions, separated by commas; none given is no rule. Named and explained as the model's field is."""

    def __init__(self, rows: type[Organization | Team]) -> None:
        of_model: Any = rows._meta.get_field("regions")
        super().__init__(
            forms.CharField(validators=[validate_slug]),
            required=False,
            widget=UnfoldAdminTextInputWidget,
            label=of_model.verbose_name.capitalize(),
            help_text=f"{of_model.help_text} Separated by commas.",
        )

    def clean(self, value: Any) -> Any:
        return super().clean(value) or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data)


class OrganizationForm(ServiceForm[Organization]):
    fixed = ("slug",)

    fault_tolerant_tiers = TiersField("fault_tolerant_tiers")
    capless_tiers = TiersField("capless_tiers")
    regions = RegionsField(Organization)
    tier_models = TierModelsField(
        label="Models of each tier",
        help_text="The models that keys of a tier may use, whatever their team may; none chosen means all.",
    )

    class Meta:
        model = Organization
        fields = (
            *("slug", "name", "time_zone", "fiscal_month_start", "fault_tolerant_tiers", "capless_tiers"),
            *("regions", "tier_models"),
        )

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and not self.errors:
            try:
                validate_organization(self.instance)
            except ValidationError as error:
                self.add_error(None, error)


class TeamForm(ServiceForm[Team]):
    fixed = ("organization", "slug")

    allowed_models = AllowedModelsField()
    allowed_providers = AllowedProvidersField(
        help_text="The providers to which the team's calls may go; none chosen means all."
    )
    preferred_providers = OrderedNamesField(
        most=MAX_PREFERRED,
        help_text="The providers that are tried first, in this order, whatever the order of the deployments.",
    )
    regions = RegionsField(Team)

    class Meta:
        model = Team
        fields = (
            *("organization", "slug", "name", "tier"),
            *("allowed_models", "allowed_providers", "preferred_providers", "regions"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = visible(Provider.objects.all(), self.person).order_by("name").values_list("name", flat=True).distinct()
        field: Any = self.fields["preferred_providers"]
        field.offer(names)

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and not self.errors:
            try:
                validate_team(self.instance, self.instance.organization)
            except ValidationError as error:
                self.add_error(None, error)
