"""The chain shows what was done to the log past its triggers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from control_plane.audit.chain import GENESIS, chain_waiting
from control_plane.audit.models import AuditEntry
from control_plane.audit.tasks import chain_entries
from control_plane.teams.models import Team
from tests.control_plane.cast import Api, all_at_once


def verified(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_audit", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def complaint(*arguments: str) -> str:
    out = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("verify_audit", *arguments, stdout=StringIO(), stderr=out)
    assert raised.value.returncode == 1
    return out.getvalue()


@contextmanager
def without_triggers() -> Iterator[Any]:
    """What the owner of the table can do."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER USER")
        try:
            yield cursor
        finally:
            cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER USER")
            cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_truncate")


def test_the_task_chains_what_waits_and_each_entry_can_be_checked_by_itself(api: Api) -> None:
    api.team()

    chain_entries.apply()

    entries = list(AuditEntry.objects.filter(organization=api.organization.slug).order_by("sequence"))
    assert not AuditEntry.objects.filter(sequence=None).exists()
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0].previous_hash == GENESIS
    exported = b"".join(api.call("GET", "audit?format=jsonl").streaming_content).decode().splitlines()
    found = {}
    for line in map(json.loads, exported):
        stated = line.pop("hash")
        text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == stated
        found[line["sequence"]] = stated
    assert found[entries[-1].sequence] == entries[-1].hash


def test_writers_and_chainers_who_race_keep_one_chain(api: Api) -> None:
    api.team()

    def rename(number: int) -> None:
        Team.objects.update(name=f"name {number}")
        chain_waiting()

    all_at_once([partial(rename, number) for number in range(8)])

    slug = api.organization.slug
    assert verified("--organization", slug).startswith(
        f"{slug} {AuditEntry.objects.filter(organization=slug).count()}:"
    )


def test_what_was_changed_deleted_or_cut_off_is_found_and_named(api: Api) -> None:
    api.team()
    for name in ("one", "two", "three"):
        Team.objects.update(name=name)
    slug = api.organization.slug
    anchor = verified("--organization", slug).split()[1]
    last = int(anchor.partition(":")[0])
    assert verified("--organization", slug, "--anchor", anchor)

    with without_triggers() as cursor:
        cursor.execute("DELETE FROM audit_auditentry WHERE organization = %s AND sequence = %s", [slug, last])
    assert verified("--organization", slug), "a shorter chain is whole, without an anchor"
    assert (
        complaint("--organization", slug, "--anchor", anchor)
        == f"{slug}: entry {last} and what followed were cut off\n"
    )

    with without_triggers() as cursor:
        cursor.execute("UPDATE audit_auditentry SET actor = 'x' WHERE organization = %s AND sequence = 3", [slug])
    assert complaint() == f"{slug}: entry 3 was changed\n"

    with without_triggers() as cursor:
        cursor.execute("DELETE FROM audit_auditentry WHERE organization = %s AND sequence = 2", [slug])
    assert complaint() == f"{slug}: entry 2 is missing\n"

    with pytest.raises(CommandError, match="whose anchor"):
        verified("--anchor", anchor)


def test_an_entry_that_was_written_anew_with_its_hash_is_not_the_anchored_one(api: Api) -> None:
    api.team()
    slug = api.organization.slug
    verified()
    first = AuditEntry.objects.get(organization=slug, sequence=1)

    said = complaint("--organization", slug, "--anchor", f"1:{'0' * 64}")

    assert said == f"{slug}: entry 1 is not the one that was anchored\n"
    assert verified("--organization", slug, "--anchor", f"1:{first.hash}")
