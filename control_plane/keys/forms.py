"""The forms of virtual keys in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from django.forms import CharField, Form, TypedChoiceField
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from control_plane.administration import SecretForm
from control_plane.catalog.forms import AllowedModelsField
from control_plane.keys.models import VirtualKey, validate_tag
from control_plane.keys.selectors import network_texts, validate_own_tier
from kong_plugins.llm.release import Tier


class AnythingOr(SimpleArrayField):
    """Texts with commas between them; none given means no rule."""

    def __init__(self, name: str) -> None:
        of_model: Any = VirtualKey._meta.get_field(name)
        super().__init__(
            CharField(validators=of_model.base_field.validators),
            required=False,
            label=of_model.verbose_name.capitalize(),
            widget=UnfoldAdminTextInputWidget,
            help_text=f"{of_model.help_text} Separated by commas.",
        )

    def clean(self, value: Any) -> Any:
        return super().clean(value) or None


class RotationForm(Form):
    """How long the secret that a key has now is to go on."""

    grace_hours = TypedChoiceField(
        label="The secret that it has now",
        coerce=int,
        initial=24,
        choices=[
            (24, "goes on for a day"),
            (24 * 7, "goes on for a week"),
            (24 * 30, "goes on for 30 days"),
            (1, "goes on for an hour"),
            (0, "ends now: its next request is refused"),
        ],
        widget=UnfoldAdminSelectWidget,
    )


class KeyForm(SecretForm[VirtualKey]):
    fixed = ("team", "speaks_for_users")

    tags = SimpleArrayField(
        CharField(validators=[validate_tag]),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Separated by commas; spend can be broken down by them.",
    )
    allowed_models = AllowedModelsField()
    allowed_routes = AnythingOr("allowed_routes")
    allowed_networks = AnythingOr("allowed_networks")

    class Meta:
        model = VirtualKey
        fields = (
            *("team", "name", "application", "tags", "description", "contact", "own_tier", "speaks_for_users"),
            *("allowed_models", "allowed_routes", "allowed_networks", "personal", "rotate_every_days", "expires_at"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding and "personal" in self.fields:
            self.fields["personal"].initial = not (self.person.everything or self.person.runs_something)

    def clean_allowed_networks(self) -> list[str] | None:
        networks = self.cleaned_data["allowed_networks"]
        try:
            return networks and network_texts(networks)
        except ValidationError as error:
            raise ValidationError(error.message_dict["allowed_networks"]) from error

    def clean_own_tier(self) -> Tier | None:
        own_tier = self.cleaned_data["own_tier"] or None
        if "own_tier" in self.changed_data and "team" in self.cleaned_data:
            try:
                validate_own_tier(self.cleaned_data["team"], own_tier)
            except ValidationError as error:
                raise ValidationError(error.message_dict["own_tier"]) from error
        return own_tier
