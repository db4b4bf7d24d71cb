"""The ledger as the REST API shows it, and the questions that it answers."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, ClassVar, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from control_plane.api.callers import caller_of
from control_plane.api.serializers import StrictSerializer
from control_plane.ledger.models import EVENT_KINDS, DeadLetter, Reconciliation, UsageEvent
from control_plane.ledger.periods import instant_from
from control_plane.ledger.spend import GROUP_COLUMNS, GROUPS, GroupBy, Question
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible


@extend_schema_field({"type": "string", "example": "2026-11-01"})
class DayOrInstantField(serializers.Field[datetime | None, str, str, Any]):
    """An ISO date, meant as its first instant in the organization's time zone, or an ISO instant with its offset."""

    default_error_messages: ClassVar = {
        "invalid": "Give a date such as 2026-11-01, or an instant with its offset such as 2026-11-01T00:00:00Z."
    }

    def to_internal_value(self, data: str) -> datetime | None:
        if data == "":
            return None  # as in `?from=&to=`
        try:
            return instant_from(data, caller_of(self.context["request"]).organization.zone)
        except ValueError:
            self.fail("invalid")


@extend_schema_field(OpenApiTypes.BOOL)
class TruthField(serializers.Field[bool, str, bool, Any]):
    """The word true or false of a query string."""

    default_error_messages: ClassVar = {"invalid": "Say true or false."}

    def to_internal_value(self, data: str) -> bool:
        if data not in ("true", "false"):
            self.fail("invalid")
        return data == "true"


class SpanQuery(StrictSerializer[UsageEvent]):
    """`from` is inclusive, `to` exclusive; either may be left out."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        span = {
            "from": DayOrInstantField(source="start", default=None, allow_null=True),
            "to": DayOrInstantField(source="end", default=None, allow_null=True),
        }
        return super().get_fields() | span

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["start"] and attrs["end"] and attrs["start"] >= attrs["end"]:
            raise serializers.ValidationError({"to": "This must be later than from."})
        return attrs


@extend_schema_field({"type": "string", "example": "team,day"})
class GroupsField(serializers.Field[tuple[GroupBy, ...], str, str, Any]):
    """Names of groups with commas between them."""

    default_error_messages: ClassVar = {
        "invalid": f"Name each of what to group by once, with commas between: {', '.join(GROUPS)}."
    }

    def to_internal_value(self, data: str) -> tuple[GroupBy, ...]:
        names = data.split(",")
        if len(set(names)) < len(names) or not set(names) <= set(GROUPS):
            self.fail("invalid")
        return tuple(cast("GroupBy", name) for name in names)


class SpendQuery(SpanQuery):
    """Groups, and of what calls; each filter is an exact name, and empty for calls that have none."""

    group_by = GroupsField()
    format = serializers.ChoiceField(choices=["json", "csv"], default="json")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        texts = {name: serializers.CharField(required=False, allow_blank=name != "tag") for name in GROUP_COLUMNS}
        return super().get_fields() | texts

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        asked = super().validate(attrs)
        narrowed = {GROUP_COLUMNS[name]: asked.pop(name) for name in GROUP_COLUMNS if name in asked}
        if "tags" in narrowed:
            narrowed["tags__contains"] = [narrowed.pop("tags")]
        organization, person = self.organization, person_of(self.user)
        question = Question(
            organization=organization.slug,
            zone=organization.zone,
            group_by=asked["group_by"],
            start=asked["start"],
            end=asked["end"],
            narrowed=narrowed,
            seen=partial(visible, person=person),
            sees_all=person.teams_seen(organization.slug) is None,
        )
        if "hour" in question.group_by and not question.is_of_whole_hours:
            raise serializers.ValidationError({"group_by": "By hour, from and to are the beginnings of hours."})
        return {"question": question, "format": asked["format"]}


class EventsQuery(SpanQuery):
    request_id = serializers.CharField(required=False)
    team = serializers.CharField(required=False)
    key = serializers.CharField(required=False)
    kind = serializers.ChoiceField(choices=EVENT_KINDS, required=False)
    degraded = TruthField(required=False)
    shadow_refused = TruthField(required=False)
    cursor = serializers.CharField(required=False)
    page_size = serializers.CharField(required=False)


class EventSerializer(serializers.ModelSerializer[UsageEvent]):
    """A row of the ledger; what is absent is null."""

    shows_empty_as_null = True

    id = serializers.CharField(source="event_id")

    class Meta:
        model = UsageEvent
        exclude = ("event_id", "organization")

    def to_representation(self, instance: UsageEvent) -> dict[str, Any]:
        return {name: None if value == "" else value for name, value in super().to_representation(instance).items()}


class DeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    """What the ledger could not take, and why."""

    payload = serializers.SerializerMethodField()

    class Meta:
        model = DeadLetter
        fields = ("id", "entry_id", "type", "reason", "deliveries", "payload", "created_at")

    @extend_schema_field(OpenApiTypes.STR)
    def get_payload(self, letter: DeadLetter) -> str:
        return bytes(letter.payload).decode(errors="backslashreplace")


class BooksSerializer(serializers.ModelSerializer[Reconciliation]):
    """Whether events, their sums and Redis agree: `difference` is null where they do."""

    class Meta:
        model = Reconciliation
        fields = ("checked_at", "difference", "since")

    def to_representation(self, instance: Reconciliation) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | {"difference": shown["difference"] or None}
