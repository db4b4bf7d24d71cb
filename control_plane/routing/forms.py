"""The form of an alias in the admin."""

from __future__ import annotations

from typing import Any

from control_plane.administration import ServiceForm
from control_plane.routing.models import Alias


class AliasForm(ServiceForm[Alias]):
    fixed = ("organization", "name", "team")

    class Meta:
        model = Alias
        fields = ("organization", "name", "team", "model", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "team" in self.fields:
            team: Any = self.fields["team"]
            team.empty_label = "All teams"
