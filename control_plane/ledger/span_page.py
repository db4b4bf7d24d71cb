"""What the pages of the admin that answer for a span of days have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.http import Http404
from django.utils import timezone
from django.views.generic import TemplateView
from unfold.widgets import INPUT_CLASSES

from control_plane.api.csv_answers import table_response
from control_plane.ledger.forms import SpanForm
from control_plane.ledger.periods import Days
from control_plane.rights.person import Person, person_of
from control_plane.rights.scope import visible
from control_plane.teams.models import Organization

if TYPE_CHECKING:
    _Page = TemplateView
else:
    from unfold.views import UnfoldModelAdminViewMixin

    class _Page(UnfoldModelAdminViewMixin, TemplateView): ...


class SpanPage(_Page):
    """A page with tabs for one choice of its own and for the span; subclasses give the answer."""

    title: ClassVar[str]
    form_class: ClassVar[type[SpanForm]]
    # The form's field for the page's own choice, and what it is if nothing was chosen.
    choice: ClassVar[str]
    usual_choice: ClassVar[str]

    @property
    def person(self) -> Person:
        return person_of(self.request.user)

    # Whether the table is asked for as a file.
    is_file = False

    def answer(self, form: SpanForm, days: Days) -> dict[str, Any]:
        """What the template is given for a form that is valid."""
        raise NotImplementedError

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        seen = visible(Organization.objects.all(), self.person)
        first = seen.first()
        if first is None:
            return context
        form = self._asked(first)
        days = form.days(timezone.now().astimezone(form.cleaned_data["organization"].zone))
        return context | self._question(form, days) | self.answer(form, days)

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> Any:
        if not self.is_file:
            return super().render_to_response(context, **kwargs)
        if "table" not in context:
            raise Http404
        return table_response(context["table"], file_name=f"{self.title.lower()}.csv")

    def _asked(self, organization: Organization) -> SpanForm:
        """The question, completed; what cannot be understood is answered for this month instead, and said so."""
        usual = {"organization": organization.slug, self.choice: self.usual_choice, "span": "month"}
        form = self.form_class(usual | self.request.GET.dict(), person=self.person)
        if form.is_valid():
            return form
        fallback = self.form_class(usual, person=self.person)
        fallback.is_valid()
        fallback.complaints = [str(message) for messages in form.errors.values() for message in messages]
        return fallback

    def _question(self, form: SpanForm, days: Days) -> dict[str, Any]:
        return {
            "form": form,
            "input_classes": " ".join(INPUT_CLASSES),
            "first_day": days[0],
            "last_day": days[1] - timedelta(days=1),
            "choice": self.choice,
            "chosen": form.cleaned_data[self.choice],
            "choices": _links(form, self.choice),
            "spans": _links(form, "span"),
            "several_organizations": visible(Organization.objects.all(), self.person).count() > 1,
        }


def _links(form: SpanForm, name: str) -> list[dict[str, Any]]:
    """Tabs that change one thing of the question and leave the rest."""
    asked = {field: value for field, value in form.data.items() if value}
    field: Any = form.fields[name]
    return [
        {
            "title": label,
            "link": "?" + urlencode(asked | {name: value}),
            "active": form.cleaned_data[name] == value,
        }
        for value, label in field.choices
        if value != "custom"
    ]
