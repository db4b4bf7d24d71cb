"""The past of the demo's company: the same each time, true to its budgets, in the words of the ledger's contract."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from demo.catalog import demo_models
from demo.history import Company, Key, events, month_so_far_nusd, rounded_cap_nusd, write_lines
from kong_plugins.llm.events import UsageEvent, decode_event

_NOW = datetime(2026, 11, 23, 15, 30, tzinfo=ZoneInfo("Europe/Berlin"))


def company(now: datetime = _NOW) -> Company:
    data = json.loads(files("demo").joinpath("company.json").read_bytes())
    team_of = {row["name"]: row["team"] for row in data["keys"]}
    return Company(
        organization="acme",
        now=now,
        month_start=now.replace(day=1, hour=0, minute=0),
        traffic=data["traffic"],
        users=data["users"],
        keys={
            row["key"]: Key(id=row["key"], team=team_of.get(row["key"], "search"), tier="normal", tags=("batch",))
            for row in data["traffic"]
        },
        deployments={model.name: ("1", "simulator") for model in demo_models()},
        degrade=data["degrade"],
    )


@pytest.fixture(scope="module")
def past() -> list[UsageEvent]:
    read = [decode_event("usage", line.encode()) for line in write_lines(company())]
    return [event for event in read if isinstance(event, UsageEvent)]


def test_it_is_the_same_each_time_and_each_call_is_there_once(past: list[UsageEvent]) -> None:
    assert [event["id"] for event in events(company())] == [event.id for event in past]
    assert len({event.id for event in past}) == len(past) > 15_000


def test_it_has_office_hours_weekends_failures_and_refusals(past: list[UsageEvent]) -> None:
    office = [datetime.fromtimestamp(e.reserved_at_ms / 1000, _NOW.tzinfo) for e in past if e.key == "ide-assistant"]
    weekdays = Counter(at.weekday() >= 5 for at in office)
    assert weekdays[False] > 20 * weekdays[True] > 0
    assert sum(8 <= at.hour < 18 for at in office) > 0.8 * len(office)
    assert {event.kind for event in past} == {"posted", "voided", "refused"}
    incident = [e for e in past if e.outcome == "provider_error" and _days_ago(e) == 6]
    assert len(incident) > 3 * sum(e.outcome == "provider_error" and _days_ago(e) == 7 for e in past)


def test_nothing_lies_in_the_future_or_beyond_five_weeks(past: list[UsageEvent]) -> None:
    earliest, latest = past[0].reserved_at_ms / 1000, past[-1].reserved_at_ms / 1000
    assert (_NOW - timedelta(days=36)).timestamp() < earliest < latest < _NOW.timestamp()


@pytest.mark.parametrize("day", [1, 2, 23])
def test_a_cap_is_never_exceeded_and_what_does_not_fit_is_refused(day: int) -> None:
    made = company(_NOW.replace(day=day))
    expected = month_so_far_nusd(made)["search"]
    made.caps_nusd["search"] = rounded_cap_nusd(expected, 130)

    found = list(events(made))
    this_month = [e for e in found if e["reserved_at_ms"] >= made.month_start.timestamp() * 1000]
    assert sum(e["amount_nusd"] for e in this_month if e["team"] == "search") <= made.caps_nusd["search"]
    refused = sum(e["refusing_scope"] == "team monthly budget" for e in found if "refusing_scope" in e)
    assert bool(refused) == (expected > made.caps_nusd["search"])


def test_from_a_line_on_calls_go_to_a_lesser_model() -> None:
    made = company()
    made.degrade_from_nusd["research"] = month_so_far_nusd(made)["research"] // 2

    lesser: list[dict[str, Any]] = [event for event in events(made) if event["degraded_from"]]
    assert {(e["team"], e["degraded_from"], e["request_model"]) for e in lesser} == {
        ("research", "gpt-4.1", "gpt-4.1-mini")
    }


def _days_ago(event: UsageEvent) -> int:
    return (_NOW.date() - datetime.fromtimestamp(event.reserved_at_ms / 1000, _NOW.tzinfo).date()).days
