"""The chain of an organization's entries: each has a hash over its content and the hash of the one before.

Entries get their place some moments after they were written, by a pass that one process makes at a time. So no change
waits for another one's commit, and the order in which transactions end does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from django.db import connection, transaction

from control_plane.audit.models import AuditEntry

# What the first entry of a chain follows.
GENESIS: Final = "0" * 64
_AT_ONCE: Final = 5_000
# Any number that nobody else locks.
_LOCK: Final = 0x6175646974
_FIELDS: Final = tuple(field.attname for field in AuditEntry._meta.fields if field.attname != "hash")
_HEADS: Final = """
SELECT o.slug, last.sequence, last.hash
FROM unnest(%s::text[]) AS o (slug) CROSS JOIN LATERAL (
    SELECT sequence, hash FROM audit_auditentry
    WHERE organization = o.slug AND sequence IS NOT NULL ORDER BY sequence DESC LIMIT 1
) AS last
"""
_PLACE: Final = """
UPDATE audit_auditentry AS entry
SET sequence = place.sequence, previous_hash = place.previous_hash, hash = place.hash
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS place (id, sequence, previous_hash, hash)
WHERE entry.id = place.id
"""


@dataclass(frozen=True)
class Head:
    """The last entry of a chain."""

    sequence: int = 0
    hash: str = GENESIS


@dataclass(frozen=True)
class Verified:
    """What a walk along a chain has found; `broken` names the first entry that is not as it was, "" for none."""

    organization: str
    head: Head
    broken: str = ""


def content_of(entry: AuditEntry) -> dict[str, Any]:
    """Everything that an entry's hash is over, as JSON has it."""
    content = {name: getattr(entry, name) for name in _FIELDS}
    return content | {"recorded_at": entry.recorded_at.astimezone(UTC).isoformat(timespec="microseconds")}


def hash_of(content: dict[str, Any]) -> str:
    """SHA-256 of the content as JSON: members sorted by name, no blanks, all text as UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def chain_waiting() -> int:
    """Give every entry that waits its place; return how many there were."""
    chained = 0
    while number := _chain_some():
        chained += number
    return chained


@transaction.atomic
def _chain_some() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        waiting = list(AuditEntry.objects.filter(sequence=None).order_by("id")[:_AT_ONCE])
        if not waiting:
            return 0
        cursor.execute(_HEADS, [sorted({entry.organization for entry in waiting})])
        heads = {organization: Head(sequence, last) for organization, sequence, last in cursor.fetchall()}
        for entry in waiting:
            head = heads.get(entry.organization, Head())
            entry.sequence, entry.previous_hash = head.sequence + 1, head.hash
            entry.hash = hash_of(content_of(entry))
            heads[entry.organization] = Head(entry.sequence, entry.hash)
        columns = ("id", "sequence", "previous_hash", "hash")
        cursor.execute(_PLACE, [[getattr(entry, name) for entry in waiting] for name in columns])
    return len(waiting)


def verify(organization: str, anchors: dict[int, str]) -> Verified:
    """Walk an organization's chain from its first entry on; `anchors` are hashes that entries are known to have had."""
    head, left = Head(), dict(anchors)
    entries = AuditEntry.objects.filter(organization=organization).exclude(sequence=None).order_by("sequence")
    for entry in entries.iterator(chunk_size=2_000):
        if broken := _fault(entry, head) or _not_as_anchored(entry, left):
            return Verified(organization, head, broken)
        assert entry.sequence is not None
        head = Head(entry.sequence, entry.hash)
    if left:
        return Verified(organization, head, f"entry {head.sequence + 1} and what followed were cut off")
    return Verified(organization, head)


def organizations() -> Iterator[str]:
    """The organizations that have a chain; "" is the installation's own."""
    names = AuditEntry.objects.order_by("organization").values_list("organization", flat=True)
    return iter(names.distinct())


def _fault(entry: AuditEntry, head: Head) -> str:
    if entry.sequence != head.sequence + 1:
        return f"entry {head.sequence + 1} is missing"
    if entry.previous_hash != head.hash:
        return f"entry {entry.sequence} does not follow the entry before it"
    if entry.hash != hash_of(content_of(entry)):
        return f"entry {entry.sequence} was changed"
    return ""


def _not_as_anchored(entry: AuditEntry, left: dict[int, str]) -> str:
    assert entry.sequence is not None
    anchored = left.pop(entry.sequence, entry.hash)
    return "" if anchored == entry.hash else f"entry {entry.sequence} is not the one that was anchored"
