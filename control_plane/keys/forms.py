"""The form of a virtual key in the admin."""

from __future__ import annotations

from django.contrib.postgres.forms import SimpleArrayField
from django.forms import CharField
from unfold.widgets import UnfoldAdminTextInputWidget

from control_plane.administration import SecretForm
from control_plane.catalog.forms import AllowedModelsField
from control_plane.keys.models import VirtualKey, validate_tag


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
        fields = ("team", "name", "tags", "allowed_models", "speaks_for_users", "expires_at")
