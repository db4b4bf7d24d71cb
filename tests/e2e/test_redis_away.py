"""Redis is killed, or hangs: what may do without it goes on, the rest is told when to come back, and afterwards every
answer is booked, once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from stack.processes import kill_at_once
from stack.system import Stack
from tests.e2e.conftest import RunningSystem
from tests.e2e.system import System, Team, eventually
from tests.e2e.test_kill import Load, seconds_until_served

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

AWAY_S = 3.0


def test_a_redis_that_is_killed_under_load_costs_no_exact_usage(journal_system: RunningSystem) -> None:
    capped = journal_system.system.new_team("redis-away", cap_nusd=100_000_000_000)
    tolerant = without_hard_budget(journal_system.system.new_team("redis-not-needed"))
    for team in (capped, tolerant):
        team.behave(first_token_ms=200, token_ms=20, output_tokens=20)

    with Load(capped) as load, Load(tolerant) as steady_load:
        eventually(lambda: len(capped.books()) > 10 < len(tolerant.books()), within_s=20, what="load")
        # The supervisor starts it again at once, so it is killed for as long as it is to be away.
        away_until = time.monotonic() + AWAY_S
        while time.monotonic() < away_until:
            process_id = journal_system.stack.process_id("valkey")
            if process_id:
                kill_at_once(process_id)
        seconds_until_served(capped)
        eventually(lambda: load.outcomes["503"] > 0, within_s=10, what="calls were refused meanwhile")

    assert set(steady_load.outcomes) == {"200"}, "where no budget could refuse, nobody notices"
    for team in (capped, tolerant):
        assert_every_call_is_booked_once(team)


def test_while_redis_hangs_each_gateway_goes_by_its_part_and_hard_budgets_close(tmp_path: Path) -> None:
    with (
        Stack(tmp_path, gateways=2, settings={"BURSAR_REDIS_TIMEOUT_MS": "1000"}) as stack,
        System(stack.ready) as system,
    ):
        capped, tolerant = system.new_team("capped"), without_hard_budget(system.new_team("tolerant"))
        system.new_limit(tolerant, "requests", 11)
        urls = list(stack.ready["gateways"].values())
        for url in urls:
            assert [post_to(url, team).status_code for team in (capped, tolerant)] == [200, 200]

        with hung(stack, "valkey"):
            closed = [post_to(url, capped) for url in urls]
            answers = [[post_to(url, tolerant) for _ in range(8)] for url in urls]

        for answer in closed:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "policy_unavailable")
            assert answer.headers["retry-after"] == "1"
        for of_one in answers:
            assert [answer.status_code for answer in of_one] == [200] * 5 + [429] * 3
            assert of_one[0].headers["x-ratelimit-limit-requests"] == "5"
            assert [answer.headers["x-ratelimit-remaining-requests"] for answer in of_one] == [*"43210000"]
            assert all(50 <= int(answer.headers["retry-after"]) <= 61 for answer in of_one[5:])
        for team, number in ((capped, 2), (tolerant, 2 + 2 * 5)):
            assert len(team.books()) == number
            assert_every_call_is_booked_once(team)


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


def without_hard_budget(team: Team) -> Team:
    """The team with a budget that counts and refuses nothing."""
    team.system.change(f"/api/v1/budgets/{team.budget_id}", hard=False)
    return team


def post_to(gateway: str, team: Team) -> httpx.Response:
    """A small call through one of several gateways."""
    return team.system.client.post(
        f"{gateway}/v1/chat/completions",
        json=team.request(max_tokens=5),
        headers={"authorization": f"Bearer {team.key}"},
    )


@contextmanager
def hung(stack: Stack, program: str) -> Iterator[None]:
    """Within this context, a program takes connections and answers nothing."""
    process_id = stack.process_id(program)
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def assert_every_call_is_booked_once(team: Team) -> None:
    """The ledger, the counters and the provider's own books say the same, to the nano-dollar."""
    books = {call["client_request_id"]: call["amount_nusd"] for call in team.books()}
    assert len(books) == len(team.books())
    eventually(lambda: books.keys() <= {row["request_id"] for row in team.ledger()}, within_s=30, what="chains")
    rows = team.spent_in_ledger()
    assert all(row["quality"] == "exact" for row in rows), "every answer was complete, so each is known exactly"
    assert {row["request_id"]: row["amount_nusd"] for row in rows} == books
    assert len(rows) == len(books)

    def state() -> dict[str, int]:
        found: dict[str, int] = team.budget()["state"]
        return found

    eventually(lambda: state()["held"] == 0, within_s=30, what="every hold is gone")
    eventually(lambda: state()["spent"] == sum(books.values()), within_s=10, what="the counter is right")
