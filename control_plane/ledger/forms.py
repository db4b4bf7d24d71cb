"""What the pages of the admin that are about a span of days can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from control_plane.ledger.periods import SPANS, Days
from control_plane.ledger.spend import GROUP_COLUMNS
from control_plane.rights.person import Person
from control_plane.rights.scope import visible
from control_plane.teams.models import Organization

_MOST_DAYS: Final = 400
_SPAN_NAMES: Final = {name: label for name, (label, _) in SPANS.items()} | {"custom": "Chosen days"}


class SpanForm(forms.Form):
    """One of `SPANS`, or "custom" with its first and last day, of an organization that the person sees."""

    organization = forms.ModelChoiceField(
        Organization.objects.all(), to_field_name="slug", empty_label=None, widget=UnfoldAdminSelectWidget
    )
    span = forms.ChoiceField(choices=list(_SPAN_NAMES.items()))
    first = forms.DateField(required=False)
    last = forms.DateField(required=False)

    # What was wrong with the question that this one stands in for.
    complaints: Sequence[str] = ()

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["organization"]
        field.queryset = visible(field.queryset, person)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("span") == "custom":
            first, last = cleaned.get("first"), cleaned.get("last")
            if not first or not last or not timedelta(0) <= last - first < timedelta(days=_MOST_DAYS):
                raise forms.ValidationError(f"Give a first and a last day, at most {_MOST_DAYS} days in all.")
        return cleaned

    @property
    def span_name(self) -> str:
        return _SPAN_NAMES[self.cleaned_data["span"]]

    def days(self, now: datetime) -> Days:
        """The first day, and the day after the last."""
        if self.cleaned_data["span"] == "custom":
            return self.cleaned_data["first"], self.cleaned_data["last"] + timedelta(days=1)
        _, span = SPANS[self.cleaned_data["span"]]
        return span(now.date())


class SpendForm(SpanForm):
    group_by = forms.ChoiceField(choices=[(name, name.capitalize()) for name in GROUP_COLUMNS])


class RefusalsForm(SpanForm):
    mode = forms.ChoiceField(choices=[("enforced", "Refused"), ("shadow", "In shadow mode")])
