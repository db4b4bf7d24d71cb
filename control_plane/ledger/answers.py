"""The rows of answers about spend and refusals, for the description of the REST API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.ledger.spend import GROUPS, SUMS


class SpendRow(serializers.Serializer[Any]):
    """One of what was asked to group by; only those groups are there. What is absent is null."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        groups = {name: serializers.CharField(required=False, allow_null=True) for name in (*GROUPS, "name")}
        sums = {name: serializers.IntegerField() for name in SUMS}
        return {**groups, **sums, "amount_usd": serializers.CharField()}


class RefusalsRow(serializers.Serializer[Any]):
    rule = serializers.CharField(help_text="The limit or the budget, in words.")
    team = serializers.CharField()
    calls = serializers.IntegerField()


class ShadowRefusalsRow(RefusalsRow):
    amount_nusd = serializers.IntegerField(help_text="What those calls have cost.")
    unpriced = serializers.IntegerField(help_text="Of so many that is not known.")
