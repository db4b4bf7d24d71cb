"""Calls of the past are put into the ledger from a file, once, and counted by Redis after a rebuild."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from django.core.management import CommandError, call_command

from control_plane.budgets.models import Budget
from control_plane.budgets.selectors import current_usage
from control_plane.ledger.models import ModelDay, UsageEvent
from control_plane.ledger.reconciliation import first_difference
from kong_plugins.llm import events
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


def past_call(organization: str, number: int, **changes: object) -> events.UsageEvent:
    at_ms = time.time_ns() // 1_000_000
    event = events.UsageEvent(
        id=f"past-{number}:1",
        request_id=f"past-{number}",
        kind="posted",
        outcome="completed",
        organization=organization,
        team="search",
        key="a-key",
        seq=0,
        reserved_at_ms=at_ms,
        posted_at_ms=at_ms,
        request_model="mini",
        provider="openai",
        quality="exact",
        amount_nusd=1_000,
    )
    return msgspec.structs.replace(event, **changes)


def written(folder: Path, *past: events.UsageEvent) -> str:
    file = folder / "past.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in past))
    return str(file)


def test_what_is_imported_counts_in_ledger_sums_and_redis_and_only_once(
    traffic: Traffic, api: Api, tmp_path: Path
) -> None:
    api.team("search")
    api.budget(amount=1_000_000)
    file = written(tmp_path, *(past_call(traffic.slug, number) for number in range(3)))

    for _ in range(2):
        call_command("import_events", file, organization=traffic.slug)
    call_command("rebuild_counters", gateways_look_within=0.0)

    assert UsageEvent.objects.filter(organization=traffic.slug).count() == 3
    assert ModelDay.objects.get(organization=traffic.slug).amount_nusd == 3_000
    assert [usage.spent for [usage] in current_usage(Budget.objects.all()).values()] == [3_000]
    assert first_difference(traffic.organization) is None


def test_a_file_with_a_bad_line_changes_nothing(traffic: Traffic, tmp_path: Path) -> None:
    good = msgspec.json.encode(past_call(traffic.slug, 1)) + b"\n"
    bad = {
        b"{}": "line 2 is no usage event",
        msgspec.json.encode(past_call("somebody-else", 2)): "line 2 is of the organization somebody-else",
        msgspec.json.encode(
            past_call(traffic.slug, 2, uncounted=True)
        ): "line 2: what is uncounted comes from gateways",
    }
    file = tmp_path / "past.jsonl"
    for line, complaint in bad.items():
        file.write_bytes(good + line)
        with pytest.raises(CommandError, match=complaint):
            call_command("import_events", str(file), organization=traffic.slug)
    assert not UsageEvent.objects.filter(organization=traffic.slug).exists()
