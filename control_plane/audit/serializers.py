"""The audit log as the REST API shows it, and what can be asked of it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.audit.governed import GOVERNED
from control_plane.audit.models import AuditEntry
from control_plane.audit.sentences import sentence
from control_plane.ledger.serializers import SpanQuery


class AuditQuery(SpanQuery):
    """Each filter is an exact value; `object` is the id of what was changed."""

    kind = serializers.ChoiceField(choices=sorted(governed.kind for governed in GOVERNED.values()), required=False)
    action = serializers.ChoiceField(choices=AuditEntry.Action.choices, required=False)
    way = serializers.ChoiceField(choices=AuditEntry.Way.choices, required=False)
    format = serializers.ChoiceField(choices=["json", "csv", "jsonl"], default="json")
    cursor = serializers.CharField(required=False)
    page_size = serializers.CharField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Also two whose names are taken in a serializer's class."""
        names = {"actor": serializers.CharField(required=False)}
        return super().get_fields() | names | {"object": serializers.CharField(source="object_id", required=False)}


class EntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """An entry, with the sentence that the admin shows for it; `sequence` is null until it has its place."""

    shows_empty_as_null = True

    sentence = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = "__all__"

    def get_sentence(self, entry: AuditEntry) -> str:
        return sentence(entry)

    def to_representation(self, instance: AuditEntry) -> dict[str, Any]:
        return {name: None if value == "" else value for name, value in super().to_representation(instance).items()}
