"""The roles that a membership gives."""

from __future__ import annotations

from typing import Final, Literal

Role = Literal["platform_admin", "finance", "auditor", "owner", "member", "viewer"]

# Of a whole organization.
ORGANIZATION_ROLES: Final[tuple[Role, ...]] = ("platform_admin", "finance", "auditor")
# Of one team; an owner may be of a department too.
TEAM_ROLES: Final[tuple[Role, ...]] = ("owner", "member", "viewer")
ROLES: Final[list[tuple[Role, str]]] = [
    ("platform_admin", "Platform admin"),
    ("finance", "Finance"),
    ("auditor", "Auditor"),
    ("owner", "Owner"),
    ("member", "Member"),
    ("viewer", "Viewer"),
]
