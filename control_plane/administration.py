"""What all pages of the admin have in common: a person sees and changes what their rights reach, rows change through
services only, and nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar
from urllib.parse import urlencode

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from control_plane.rights.person import NOBODY, Person, person_of
from control_plane.rights.rules import Action
from control_plane.rights.scope import changeable_fields, may, reachable, require, visible

# So many rows to choose from are listed; where there can be more, they are looked for by their names.
MOST_CHOICES: Final = 200
_MANY: Final = ("teams.team", "teams.user", "budgets.budget")
Row = TypeVar("Row", bound=Model)
Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline

    from control_plane.teams.models import User

    _Dialog = forms.Form

    class _Admin(ModelAdmin[Row]): ...

    class _Form(forms.ModelForm[Row]): ...

    class _Inline(TabularInline[Any, Any]): ...

else:
    from unfold.admin import ModelAdmin, TabularInline

    _Dialog = BaseDialogForm

    class _Admin(ModelAdmin, Generic[Row]): ...

    class _Form(forms.ModelForm, Generic[Row]): ...

    class _Inline(TabularInline): ...


class ServiceForm(_Form[Row]):
    """A form whose `fixed` fields can be filled in once and never changed."""

    fixed: ClassVar[tuple[str, ...]] = ()
    # Who fills it in; `ServiceAdmin.get_form` says so.
    person: ClassVar[Person] = NOBODY
    # Fields with another name than what of the row they change.
    writes: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, OffersNames):
                field.offer_to(self.person)
        adding = self.instance._state.adding
        for name in self.fixed:
            if name in self.fields:  # it is not on a page that only shows
                self.fields[name].disabled = not adding
        if not adding:
            self._leave_what_is_not_theirs()
        if adding and "organization" in self.fields:
            self._choose_only_organization()

    def _leave_what_is_not_theirs(self) -> None:
        """Take nothing for fields that the person may not change of this row."""
        theirs = changeable_fields(self.person, self.instance)
        for name, field in self.fields.items():
            if theirs is not None and self.writes.get(name, name) not in theirs:
                field.disabled = True

    def _choose_only_organization(self) -> None:
        field: Any = self.fields["organization"]
        choices = list(field.queryset[:2])
        if len(choices) == 1:
            field.initial = choices[0]

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that the person has changed, with their new values."""
        return {name: self.cleaned_data[name] for name in self.changed_data}


class OffersNames:
    """A field of a form that offers the names of rows: those that the person sees."""

    def offer_to(self, person: Person) -> None:
        raise NotImplementedError


class VisibleRelatedFilter(admin.RelatedFieldListFilter):
    """Filters a list by a related row, of which it offers those that the person sees; where there are more than anybody
    reads, none: lists are searched by their names then."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        rows = visible(field.remote_field.model._default_manager.all(), person_of(request.user))
        found = [(row.pk, str(row)) for row in rows[: MOST_CHOICES + 1]]
        return found if len(found) <= MOST_CHOICES else []


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than anyone pages; a full count would read all of a table of what has happened."""

    _MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        number: int = rows.values_list("pk")[: self._MOST].count()
        return number


class ReasonDialog(_Dialog):
    """What a confirmed action asks: why, for the audit log, which reads it from the request."""

    change_reason = forms.CharField(
        label="Reason, for the audit log", required=False, max_length=500, widget=UnfoldAdminTextInputWidget
    )


class PartsWidget(forms.MultiWidget):
    """Several inputs beside each other, each under its `title`."""

    template_name = "admin/parts.html"
    part_width: ClassVar[str] = "auto"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["part_width"] = self.part_width
        return context


class ServiceAdmin(_Admin[Row]):
    """Pages of one kind of row; subclasses say which service creates and which changes it."""

    actions: Any = ()
    list_per_page = 50
    show_full_result_count = False
    change_form_after_template: str | None = "admin/change_reason.html"

    def create(self, form: Any, user: User) -> Row:
        raise NotImplementedError

    def change(self, row: Row, form: Any, actor: str) -> Row:
        raise NotImplementedError

    def organization_of(self, row: Row) -> Any:
        """The organization that a row belongs to."""
        return row.organization  # type: ignore[attr-defined]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        return visible(super().get_queryset(request), person_of(request.user))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A row can be tied only to what the person sees."""
        rows = kwargs.get("queryset") or db_field.remote_field.model._default_manager.all()
        kwargs["queryset"] = visible(rows, person_of(request.user))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        fields = self.opts.get_fields()
        return [field.name for field in fields if field.many_to_one and _label_of(field.related_model) in _MANY]

    def get_form(self, request: HttpRequest, obj: Row | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            # Django takes the fields out of a form that only shows; ours asks them for their labels.
            shown: Any = self.form
            form: Any = forms.modelform_factory(self.model, form=shown, fields=list(shown.base_fields))
        else:
            form = super().get_form(request, obj, change=change, **kwargs)
        form.person = person_of(request.user)
        return form

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [self._offering_what_is_seen(each) for each in super().get_list_filter(request)]

    def _offering_what_is_seen(self, chosen: Any) -> Any:
        if not isinstance(chosen, str) or not get_fields_from_path(self.model, chosen)[-1].is_relation:
            return chosen
        return (chosen, VisibleRelatedFilter)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add", None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "change", obj)

    def _may(self, request: HttpRequest, action: Action, obj: Any) -> bool:
        """`obj` is a row, its primary key as unfold gives it, or None for any."""
        person = person_of(request.user)
        if obj is None:
            return may(person, action, self.model)
        try:
            rows: QuerySet[Any] = self.model._default_manager.filter(pk=getattr(obj, "pk", obj))
        except (ValueError, ValidationError):
            return False  # no such primary key can be
        return reachable(rows, person, action).exists()

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        user: Any = request.user
        person = person_of(user)
        if change:
            require(person, "change", obj)
        saved = self.change(obj, form, user.get_username()) if change else self.create(form, user)
        # Asked of what has become of it: a row that was made for others, or moved to them, is taken back.
        require(person, "change" if change else "add", saved)
        # Django goes on with the object that it made of the form: let it be the one that was saved.
        obj.__dict__.update(saved.__dict__)
        self.tell_when_behind(request, saved)

    def page_of(self, primary_key: Any) -> str:
        """The address of a row's page."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[primary_key])

    def tell_when_behind(self, request: HttpRequest, row: Row) -> None:
        """After the commit, and thus after publishing: say so if the change is not live."""
        transaction.on_commit(partial(_warn_if_behind, request, self.organization_of(row)))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return HttpResponseRedirect(request.get_full_path())

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit log knows of every change, not only of those that were made here."""
        row, kind = self.get_object(request, object_id), self._recorded_as
        if row is None or not kind:
            raise Http404
        asked = urlencode({"kind": kind, "object_id": row.pk})
        return HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}?{asked}")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        seen = may(person_of(request.user), "view", apps.get_model("audit", "AuditEntry"))
        context = context | {"show_history": seen and bool(self._recorded_as)}
        return super().render_change_form(request, context, *args, **kwargs)

    @property
    def _recorded_as(self) -> str | None:
        """The kind of its rows in the audit log, if they are recorded."""
        audit: Any = apps.get_app_config("audit")
        kind: str | None = audit.kind_of(self.model)
        return kind

    def log_addition(self, request: HttpRequest, obj: Row, message: Any) -> Any:
        """Nothing: the database records it."""

    def log_change(self, request: HttpRequest, obj: Row, message: Any) -> Any:
        """Nothing: the database records it."""


class SecretForm(ServiceForm[Row]):
    """A form whose service hands out a secret once."""

    secret: str | None = None


class SecretAdmin(ServiceAdmin[Row]):
    """Pages of rows with a secret that is shown on the page after the row was made, and never again."""

    # What to do with the secret.
    secret_help: ClassVar[str] = ""

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        # On its way to `response_add`, in the memory of this request only.
        obj.__dict__["secret"] = form.secret

    def response_add(self, request: HttpRequest, obj: Row, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows the secret; it is rendered here, so that the secret is stored nowhere on its way."""
        return self.secret_page(request, obj, obj.__dict__.pop("secret"), f"The new {self.opts.verbose_name} {obj}")

    def secret_page(self, request: HttpRequest, row: Row, secret: str, title: str) -> HttpResponse:
        """The page that shows a row's secret, for this once."""
        context = self.admin_site.each_context(request) | {
            "title": title,
            "row": row,
            "secret": secret,
            "secret_help": self.secret_help,
            "row_url": self.page_of(row.pk),
        }
        return TemplateResponse(request, "admin/secret.html", context)


class ReadOnlyAdmin(ServiceAdmin[Row]):
    """Pages that only show."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False


class ReadOnlyInline(_Inline):
    """Rows that only show, below another row."""

    extra = 0
    can_delete = False
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible(super().get_queryset(request), person_of(request.user))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _label_of(model: Any) -> str:
    label: str = model._meta.label_lower
    return label


def label_column(description: str, colours: dict[str, str]) -> Callable[[Function], Function]:
    """A column of coloured labels: the value → success, info, warning or danger."""

    def decorate(function: Function) -> Function:
        function.short_description = description  # type: ignore[attr-defined]
        function.label = colours  # type: ignore[attr-defined]
        return function

    return decorate


def page_action(*, title: str, permission: str) -> Callable[[Function], Function]:
    """A button on a row's page that leads to another page. Its method gets (request, object_id)."""

    def decorate(function: Function) -> Function:
        decorated: Function = action(description=title, permissions=[permission])(function)
        return decorated

    return decorate


def confirmed_action(*, title: str, description: str, permission: str = "change") -> Callable[[Function], Function]:
    """A button on a row's page that asks first, then POSTs. Its method gets (request, form, object_id)."""

    def decorate(function: Function) -> Function:
        decorated: Function = action(
            description=title,
            permissions=[permission],
            dialog={"title": title, "description": description, "form_class": ReasonDialog, "form_submit_text": title},
        )(function)
        return decorated

    return decorate


def leave_dialog(path: str) -> HttpResponse:
    """Answer a confirmed dialog: htmx loads the page at `path`."""
    return HttpResponse(headers={"HX-Redirect": path})


def _warn_if_behind(request: HttpRequest, organization: Any) -> None:
    organization.refresh_from_db(fields=["behind_since"])
    if organization.behind_since:
        messages.warning(
            request, "Saved, but not live yet: Redis cannot be reached. It becomes live as soon as Redis is back."
        )
