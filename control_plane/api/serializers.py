"""Serializers that take exactly what they know: an unknown field is an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Model, QuerySet
from rest_framework import serializers

from control_plane.amounts import usd_from_text, usd_text
from control_plane.api.callers import Caller, caller_of
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible
from kong_plugins.llm.money import nusd_from_usd

if TYPE_CHECKING:
    from control_plane.teams.models import Organization, User

Row = TypeVar("Row", bound=Model)

_NO_INSTANT: Final = "Give an instant with its offset, such as 2026-11-01T00:00:00Z."


class StrictSerializer(serializers.Serializer[Row]):
    """Refuses unknown and read-only fields, and a change of a `fixed` field.

    Subclasses call services in `create` and `update`; a model's validation error comes out under the API's name
    of the field.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()
    # Fields that change without anybody's changing the row, or that are shown once: no part of its ETag.
    changes_by_itself: ClassVar[frozenset[str]] = frozenset()
    # What an answer shows beside the declared fields, for the description of the API.
    also_shown: ClassVar[dict[str, serializers.Field[Any, Any, Any, Any]]] = {}

    @property
    def caller(self) -> Caller:
        return caller_of(self.context["request"])

    @property
    def organization(self) -> Organization:
        """The organization that the caller is in."""
        return self.caller.organization

    @property
    def user(self) -> User:
        return self.caller.user

    @property
    def actor(self) -> str:
        return self.user.get_username()

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            self._refuse_unknown(data)
        values: dict[str, Any] = super().to_internal_value(data)
        if self.instance is not None:
            self._refuse_changes_of_fixed(values)
        return values

    def save(self, **kwargs: Any) -> Row:
        try:
            saved: Row = super().save(**kwargs)
        except ModelValidationError as error:
            raise serializers.ValidationError(self._by_own_names(error)) from error
        return saved

    def _refuse_unknown(self, data: Mapping[str, Any]) -> None:
        writable = {name for name, field in self.fields.items() if not field.read_only}
        if unknown := [name for name in data if name not in writable]:
            raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such field to write."))

    def _refuse_changes_of_fixed(self, values: dict[str, Any]) -> None:
        for name in self.fixed:
            source = self.fields[name].source
            if source in values and values.pop(source) != getattr(self.instance, source):
                raise serializers.ValidationError({name: "This cannot be changed; make a new one."})

    def _by_own_names(self, error: ModelValidationError) -> dict[str, Any]:
        if not hasattr(error, "error_dict"):
            return {"non_field_errors": error.messages}
        own_names = {field.source: name for name, field in self.fields.items()}
        return {own_names.get(source, source): messages for source, messages in error.message_dict.items()}


class OwnedBySlug(serializers.SlugRelatedField[Row]):
    """A reference by name to a row of the caller's own organization that the caller sees; any other is as none."""

    def get_queryset(self) -> QuerySet[Row]:
        queryset = super().get_queryset()
        assert queryset is not None
        caller = caller_of(self.context["request"])
        return visible(queryset.filter(organization=caller.organization), person_of(caller.user))


class WholeNumberField(serializers.IntegerField):
    """A number that JSON writes as one, without a fraction: no text, no 1.0, which beyond 2⁵³ may mean another."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """true or false, and no word or number that might stand for one."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class InstantField(serializers.DateTimeField):
    """An ISO instant with its offset from UTC: without one, it would mean another instant to each reader."""

    default_error_messages: ClassVar = {"no_offset": _NO_INSTANT, "invalid": _NO_INSTANT}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("no_offset")
        return super().enforce_timezone(value)


class UsdField(serializers.DecimalField):
    """An amount in US dollars, as text with at most nine decimal places or a whole number, kept as integer nano-USD."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=19, decimal_places=9, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) and type(data) is not int:
            self.fail("invalid")
        try:
            amount_usd = usd_from_text(data.strip()) if isinstance(data, str) else data
            return nusd_from_usd(super().to_internal_value(amount_usd))
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def to_representation(self, value: Any) -> str:
        return usd_text(value)
