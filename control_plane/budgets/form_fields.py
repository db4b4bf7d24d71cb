"""What people enter into the forms of budgets and limits: times in seconds, a percentage for each tier."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from control_plane.administration import PartsWidget
from control_plane.budgets.validators import TIERS
from kong_plugins.llm.release import Tier


class SecondsFormField(forms.IntegerField):
    """Whole seconds, cleaned to milliseconds; nothing entered is 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminIntegerFieldWidget(), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        # What a person has entered is text, and is shown again as it is.
        return value // 1000 if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        # A disabled field is given the row's own value instead of what was sent.
        return value if self.disabled else (super().clean(value) or 0) * 1000

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class TierSharesWidget(PartsWidget):
    part_width = "9rem"

    def __init__(self) -> None:
        super().__init__(
            {
                tier: UnfoldAdminIntegerFieldWidget(attrs={"title": tier.capitalize(), "min": 0, "max": 100})
                for tier in TIERS
            }
        )

    def decompress(self, value: Any) -> list[Any]:
        return [(value or {}).get(tier, 100) for tier in TIERS]


class TierSharesField(forms.MultiValueField):
    """A percentage for each tier; one that is left empty is 100."""

    widget = TierSharesWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields=tuple(map(_share_field, TIERS)), require_all_fields=False, required=False, **kwargs)

    def compress(self, data_list: Any) -> dict[Tier, int]:
        return {tier: percent for tier, percent in zip(TIERS, data_list or (), strict=False) if percent is not None}


def _share_field(tier: Tier) -> forms.IntegerField:
    message = f"{tier.capitalize()}: give a whole percentage from 0 to 100."
    return forms.IntegerField(
        required=False,
        validators=[MinValueValidator(0, message), MaxValueValidator(100, message)],
        error_messages={"invalid": message},
    )
