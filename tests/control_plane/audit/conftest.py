"""What the audit log holds of a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control_plane.audit.models import AuditEntry

Newest = Callable[[str], AuditEntry]


@pytest.fixture
def newest() -> Newest:
    """The newest entry of a kind."""

    def find(kind: str) -> AuditEntry:
        entry = AuditEntry.objects.filter(kind=kind).exclude(action="emptied").first()
        assert entry is not None, f"there is no entry of the kind {kind}"
        return entry

    return find
