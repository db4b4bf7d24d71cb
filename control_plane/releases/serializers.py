"""Releases as the REST API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.releases.models import Release


class ReleaseSerializer(serializers.ModelSerializer[Release]):
    class Meta:
        model = Release
        fields = ("number", "checksum", "created_by", "created_at", "published_at")


class WholeReleaseSerializer(ReleaseSerializer):
    """With the document that gateways read."""

    class Meta(ReleaseSerializer.Meta):
        fields = (*ReleaseSerializer.Meta.fields, "document")  # type: ignore[assignment]


class LiveSerializer(serializers.Serializer[Any]):
    """Whether gateways know everything now."""

    live = serializers.BooleanField()
