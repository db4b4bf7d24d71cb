"""Replicas of one provider behind an upstream of a real Kong: minikong has none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest

from stack.gateway import CONFIGURATION
from stack.ports import HOST
from tests.e2e.sdks.silent_server import silent_server
from tests.e2e.system import System, Team, eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("BURSAR_GATEWAY") != "kong", reason="set BURSAR_GATEWAY=kong: minikong has no upstreams"
)


@pytest.fixture
def team(system: System) -> Iterator[Team]:
    """A team whose provider's host is the name of a Kong upstream, which a test fills."""
    made = system.new_team("replicas")
    system.change(f"/api/v1/providers/{made.slug}", base_url=f"http://{made.slug}/v1")
    yield made
    configure(system, CONFIGURATION.read_text())


def configure(system: System, configuration: str) -> None:
    httpx.post(f"{system.ready['kong_admin']}/config", json={"config": configuration}, timeout=30).raise_for_status()


def replicate(team: Team, *targets: str) -> None:
    """Give the team's upstream these targets, all of which are tried in turn until one can be connected to."""
    lines = [f"  - name: {team.slug}", "    targets:"]
    for target in targets:
        lines += [f"      - target: {target}", "        weight: 100"]
    tried_again = CONFIGURATION.read_text().replace("retries: 0", "retries: 3")
    configure(team.system, "\n".join([tried_again, "upstreams:", *lines, ""]))


def statuses(team: Team, calls: int) -> list[int]:
    return [team.post(team.request(max_tokens=5)).status_code for _ in range(calls)]


def simulator(team: Team) -> str:
    return team.system.provider.removeprefix("http://")


def test_a_replica_that_cannot_be_connected_to_costs_nobody_anything(team: Team) -> None:
    replicate(team, f"{HOST}:1", simulator(team))
    eventually(lambda: statuses(team, 1) == [200], within_s=20, what="the upstream is in force")

    assert statuses(team, 8) == [200] * 8

    assert [row["kind"] for row in team.booked(9)] == ["posted"] * 9


def test_a_replica_that_may_have_billed_is_not_followed_by_another(team: Team) -> None:
    with silent_server() as address:
        replicate(team, address.removeprefix("http://"))
        eventually(lambda: statuses(team, 1) == [502], within_s=20, what="the upstream is in force")
        replicate(team, address.removeprefix("http://"), simulator(team))
        found: list[int] = eventually(lambda: _both(statuses(team, 8)), within_s=30, what="both replicas are asked")

    assert set(found) == {200, 502}
    billed = sorted(call["client_request_id"] for call in team.books())
    eventually(lambda: completed(team) == billed, within_s=30, what="each answer is paid for, once")
    assert {row["outcome"] for row in team.ledger()} == {"completed", "unanswered"}


def completed(team: Team) -> list[str]:
    """The ids of the calls that were answered."""
    return sorted(row["request_id"] for row in team.ledger() if row["outcome"] == "completed")


def _both(found: list[int]) -> list[int] | None:
    return found if len(set(found)) == 2 else None
