"""What is read of releases."""

from __future__ import annotations

import msgspec

from control_plane.releases.models import Release
from kong_plugins.llm.release import PolicyDocument


def newest_release(organization_id: int) -> Release | None:
    return Release.objects.filter(organization_id=organization_id).order_by("-number").first()


def document_of(row: Release) -> PolicyDocument:
    """The document of a release, as gateways decode it."""
    return msgspec.convert(row.document, PolicyDocument)
