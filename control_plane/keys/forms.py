"""The form of a virtual key in the admin."""

from __future__ import annotations

from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from django.forms import CharField
from unfold.widgets import UnfoldAdminTextInputWidget

from control_plane.administration import SecretForm
from control_plane.catalog.forms import AllowedModelsField
from control_plane.keys.models import VirtualKey, validate_tag
from control_plane.keys.selectors import validate_own_tier
from kong_plugins.llm.release import Tier


class KeyForm(SecretForm[VirtualKey]):
    fixed = ("team", "speaks_for_users")

    tags = SimpleArrayField(
        CharField(validators=[validate_tag]),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Separated by commas; spend can be broken down by them.",
    )
    allowed_models = AllowedModelsField()

    class Meta:
        model = VirtualKey
        fields = ("team", "name", "tags", "allowed_models", "own_tier", "speaks_for_users", "expires_at")

    def clean_own_tier(self) -> Tier | None:
        own_tier = self.cleaned_data["own_tier"] or None
        if "own_tier" in self.changed_data and "team" in self.cleaned_data:
            try:
                validate_own_tier(self.cleaned_data["team"], own_tier)
            except ValidationError as error:
                raise ValidationError(error.message_dict["own_tier"]) from error
        return own_tier
