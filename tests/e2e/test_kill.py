"""`kill -9` of every process on the request's path, under load: nothing passes ungoverned, nothing is lost or left."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from bench.results import publish
from stack.processes import kill_at_once
from tests.e2e.conftest import RunningSystem
from tests.e2e.system import Team, eventually

WORKERS = 8
PLUGIN_SERVERS = ("llm-key-auth", "llm-rate-limit", "llm-token-meter")


class Load:
    """Plain and streamed calls without pause, from several clients, until told to stop."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        body = self._team.request(max_tokens=20, stream=number % 2 == 0)
        while not self._stopping.is_set():
            outcome = self._outcome(body)
            self.outcomes[outcome] += 1
            if outcome != "200":
                time.sleep(0.05)  # a client that is refused pauses, too

    def _outcome(self, body: dict[str, Any]) -> str:
        try:
            return str(self._team.post(body).status_code)
        except httpx.HTTPError:
            return "broken"


def seconds_until_back(team: Team, find: Callable[[], list[int]], killed: set[int]) -> dict[str, float]:
    """How long until another process has taken the killed one's place, and a call is answered, both by themselves."""

    started = time.monotonic()
    eventually(lambda: set(find()) - killed, within_s=20, what="a process in the killed one's place")
    replaced_s = time.monotonic() - started
    return {"replaced_s": replaced_s, "served_again_s": replaced_s + seconds_until_served(team)}


def seconds_until_served(team: Team) -> float:
    """How long until a call is answered again, by itself."""

    def served() -> bool:
        try:
            return team.post(team.request(max_tokens=5)).status_code == 200
        except httpx.HTTPError:
            return False

    started = time.monotonic()
    eventually(served, within_s=20, what="a call is served again")
    return time.monotonic() - started


def chain_of(rows: list[dict[str, Any]], request_id: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["request_id"] == request_id]


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_killing_each_process_under_load_loses_nothing_and_lets_nothing_through(
    short_lease_system: RunningSystem,
) -> None:
    team = short_lease_system.system.new_team("killed", cap_nusd=100_000_000_000)
    team.behave(first_token_ms=50, token_ms=5, output_tokens=20)
    victims: dict[str, Callable[[], list[int]]] = {
        name: partial(short_lease_system.plugin_server_ids, name) for name in PLUGIN_SERVERS
    }
    victims["gateway"] = short_lease_system.gateway_ids
    rows = []

    with Load(team) as load:
        for name, find in victims.items():
            eventually(lambda: len(team.books()) > 10, within_s=20, what="load")
            process_ids = eventually(find, within_s=10, what=f"{name} runs")
            for process_id in process_ids:
                kill_at_once(process_id)
            rows.append({"killed": name} | seconds_until_back(team, find, set(process_ids)))

    publish("test-kill", rows)
    assert load.outcomes["200"] > 0
    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=30, what="every hold is gone")
    books = {call["client_request_id"]: call for call in team.books()}
    assert len(books) == len(team.books()), "each call of the provider has a grant of its own"
    eventually(lambda: books.keys() <= {row["request_id"] for row in team.ledger()}, within_s=10, what="chains")
    ledger = team.spent_in_ledger()
    for request_id, billed in books.items():
        chain = chain_of(ledger, request_id)
        assert min(row["id"] for row in chain) == f"{request_id}:1", json.dumps(chain)
        assert len([row for row in chain if row["kind"] in ("posted", "expired")]) == 1
        assert sum(row["amount_nusd"] for row in chain) >= billed["amount_nusd"]
        if all(row["quality"] == "exact" for row in chain):
            assert sum(row["amount_nusd"] for row in chain) == billed["amount_nusd"]
