"""docs/incident.md, its commands run as they stand on a system that is broken in the ways it names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis

from kong_plugins.llm.journal import Settled, line_of
from stack.programs import script
from stack.system import Stack
from tests.documents import CONTROL_PLANE, follow, shell_blocks
from tests.e2e.system import System, Team, eventually

pytestmark = pytest.mark.chaos


class Machine:
    """A system, and a shell on it in which the document's addresses and paths are this machine's."""

    def __init__(self, stack: Stack, system: System, root: Path) -> None:
        self.system = system
        self.environment = stack.control_plane_environment
        self.dead_node = root / "dead-node"
        self.journal = root / "run" / "gateway" / "journal"

    def run(self, command: str) -> str:
        at_home = {
            CONTROL_PLANE: str(self.system.api.base_url).rstrip("/"),
            "/var/lib/bursar/journal": str(self.journal),
            "/mnt/dead-node": str(self.dead_node),
            "python manage.py": f"{script('python')[0]} manage.py",
        }
        return follow(command, at_home, {**os.environ, **self.environment})

    def as_alice(self, team: Team) -> dict[str, str]:
        """The headers of a caller whose calls count in a tier's share and in a user's own budget too."""
        self.system.change(f"/api/v1/budgets/{team.budget_id}", tier_shares_percent={"normal": 90})
        self.system.create("budgets", name="each user", scope="user", period="month", amount=10_000_000_000)
        key = self.system.create("keys", team=team.slug, name="for users", speaks_for_users=True)["key"]
        return {"authorization": f"Bearer {key}", "x-user-id": "alice"}

    def spent(self, team: Team) -> dict[str, int]:
        """What the counters in Redis say: of the team, of its tier's share, and of Alice."""
        found: dict[str, int] = {}
        with redis.Redis.from_url(self.environment["REDIS_URL"], decode_responses=True) as client:
            for name in client.scan_iter("bursar:{acme}:budget:*:month-*"):
                fields: Any = client.hgetall(name)
                spent = {
                    field: int(text) for field, text in fields.items() if field.startswith("spent") and text != "0"
                }
                if f":{team.budget_id}:" in name:
                    found |= spent
                elif ":alice:" in name:
                    found["alice"] = spent["spent"]
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    settings = {"BURSAR_REDIS_TIMEOUT_MS": "2000"}
    with Stack(tmp_path / "run", settings=settings) as stack, System(stack.ready) as system:
        yield Machine(stack, system, tmp_path)


def lost_call() -> Settled:
    """A call whose end the dead node has written down, and told nobody."""
    fields = {"request_id": "lost-1", "organization": "acme", "team": "search", "key": "k", "outcome": "completed"}
    return Settled(
        organization="acme",
        request_id="lost-1",
        kind="posted",
        amount_nusd=4_200,
        tokens=10,
        event_fields=msgspec.Raw(msgspec.json.encode(fields | {"quality": "exact", "input_tokens": 10})),
        reserved_at_ms=time.time_ns() // 1_000_000,
        hold_nusd=9_000,
        at_ms=time.time_ns() // 1_000_000,
    )


@pytest.mark.timeout(240)
def test_who_follows_the_document_gets_every_call_booked(machine: Machine) -> None:
    health, journal, rebuild, copy = shell_blocks("incident.md")
    team = machine.system.new_team("incident", cap_nusd=10_000_000_000)
    alice = machine.as_alice(team)
    assert team.post(team.request(max_tokens=5), **alice).status_code == 200
    eventually(team.spent_in_ledger, within_s=20, what="the call is in the ledger")
    [before] = team.spent_in_ledger()
    assert machine.run(journal).count(".journal") >= 2, "a file of each plugin that writes one"

    with redis.Redis.from_url(machine.environment["REDIS_URL"]) as client:
        client.flushall()
    assert json.loads(machine.run(health))
    assert team.post(team.request(max_tokens=5)).status_code in (401, 503), "nothing passes"
    assert "admission is open" in machine.run(rebuild)
    billed_nusd = team.books()[0]["amount_nusd"]
    assert machine.spent(team) == {"spent": billed_nusd, "spent:normal": billed_nusd, "alice": billed_nusd}
    assert team.post(team.request(max_tokens=5), **alice).status_code == 200
    eventually(lambda: len(team.spent_in_ledger()) == 2, within_s=20, what="the second call is in the ledger")
    ledger_nusd = sum(row["amount_nusd"] for row in team.spent_in_ledger())
    eventually(lambda: team.budget()["state"]["spent"] == ledger_nusd, within_s=20, what="the counter is right")
    assert before["amount_nusd"] < ledger_nusd
    assert machine.spent(team) == {"spent": ledger_nusd, "spent:normal": ledger_nusd, "alice": ledger_nusd}

    folder = machine.dead_node / "journal"
    folder.mkdir(parents=True)
    (folder / "llm-token-meter-1-000001.journal").write_bytes(line_of(lost_call()))
    machine.run(copy)

    def booked() -> list[object]:
        answer: httpx.Response = machine.system.api.get("/api/v1/events?request_id=lost-1")
        rows: list[object] = [row["amount_nusd"] for row in answer.raise_for_status().json()["results"]]
        return rows

    assert eventually(booked, within_s=60, what="the dead node's call") == [4_200]
