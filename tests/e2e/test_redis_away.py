"""Redis is killed under load and started again: no answer goes unbooked, nothing stays held or is booked twice."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stack.processes import kill_at_once
from stack.system import Stack
from tests.e2e.conftest import RunningSystem
from tests.e2e.system import System, eventually
from tests.e2e.test_kill import Load, seconds_until_served

AWAY_S = 3.0


@pytest.mark.timeout(180)
def test_a_redis_that_is_killed_under_load_costs_no_exact_usage(journal_system: RunningSystem) -> None:
    team = journal_system.system.new_team("redis-away", cap_nusd=100_000_000_000)
    team.behave(first_token_ms=200, token_ms=20, output_tokens=20)

    with Load(team) as load:
        eventually(lambda: len(team.books()) > 10, within_s=20, what="load")
        # The supervisor starts it again at once, so it is killed for as long as it is to be away.
        away_until = time.monotonic() + AWAY_S
        while time.monotonic() < away_until:
            process_id = journal_system.stack.process_id("valkey")
            if process_id:
                kill_at_once(process_id)
        seconds_until_served(team)
        eventually(lambda: load.outcomes["503"] > 0, within_s=10, what="calls were refused meanwhile")

    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=30, what="every hold is gone")
    books = {call["client_request_id"]: call["amount_nusd"] for call in team.books()}
    eventually(lambda: books.keys() <= {row["request_id"] for row in team.ledger()}, within_s=30, what="chains")
    rows = team.spent_in_ledger()
    assert all(row["quality"] == "exact" for row in rows), "every answer was complete, so each is known exactly"
    assert {row["request_id"]: row["amount_nusd"] for row in rows} == books
    assert len(rows) == len(books)
    assert team.budget()["state"]["spent"] == sum(books.values())


@pytest.mark.timeout(240)
def test_a_system_whose_redis_has_lost_its_file_starts_with_the_ledgers_counters(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack, System(stack.ready) as system:
        team = system.new_team("lost-at-rest", cap_nusd=100_000_000)
        assert team.post(team.request(max_tokens=20)).status_code == 200
        eventually(team.spent_in_ledger, within_s=20, what="the call is in the ledger")
        [row] = team.spent_in_ledger()
    shutil.rmtree(tmp_path / "valkey")

    with Stack(tmp_path) as stack, System(stack.ready) as system:
        found = replace(team, system=system)
        state = found.budget()["state"]
        assert (state["spent"], state["held"]) == (row["amount_nusd"], 0)
