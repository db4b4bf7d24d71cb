"""A provider begins to fail under load, at two gateways, while other things break too: nothing gets worse by it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import OpenAI

from stack.processes import kill_at_once, process_ids
from stack.system import Stack
from tests.e2e.conftest import LEASE_OF_FIVE_SECONDS, SETTINGS, RunningSystem
from tests.e2e.sdks.test_failing_providers import QUESTION, new_team
from tests.e2e.system import System, Team, eventually
from tests.e2e.test_redis_away import hung, without_hard_budget

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240), pytest.mark.xdist_group("failing")]

CALLS = 40


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system with two gateways, to be broken; its holds expire after five seconds."""
    run = tmp_path_factory.mktemp("failing")
    settings = SETTINGS | LEASE_OF_FIVE_SECONDS | {"BURSAR_REDIS_TIMEOUT_MS": "500"}
    with Stack(run, gateways=2, settings=settings) as stack, System(stack.ready) as system:
        yield RunningSystem(stack, system, run)


def sdks(gateways: RunningSystem, team: Team) -> list[OpenAI]:
    """The SDK with its own retries, at each of the gateways."""
    urls = gateways.stack.ready["gateways"].values()
    return [team.system.closing(OpenAI(base_url=f"{url}/v1", api_key=team.key)) for url in urls]


def call_all(clients: list[OpenAI], team: Team, calls: int) -> list[bool]:
    def call(number: int) -> bool:
        client = clients[number % len(clients)]
        answer = client.chat.completions.create(model=team.model, messages=QUESTION, max_tokens=5)
        return bool(answer.choices)

    with ThreadPoolExecutor(12) as crowd:
        return list(crowd.map(call, range(calls)))


def assert_no_hold_is_left(team: Team) -> None:
    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=30, what="all holds are gone")


def test_a_crowd_at_two_gateways_is_served_by_the_other_provider_and_pays_once(gateways: RunningSystem) -> None:
    team, spare = new_team(gateways.system, "race")
    clients = sdks(gateways, team)
    assert call_all(clients, team, 4) == [True] * 4

    # A time that outlasts the test: what one gateway is told of, the other one goes by too.
    team.behave(fail_status=401)
    assert call_all(clients, team, CALLS) == [True] * CALLS
    before = len(team.books())
    assert call_all(clients, team, CALLS) == [True] * CALLS

    assert len(team.books()) == before, "while it is marked, nobody calls there"
    assert_no_hold_is_left(team)
    answers = 4 + 2 * CALLS
    eventually(lambda: len(team.spent_in_ledger()) == answers, within_s=30, what="one charge for each answer")
    billed = {call["client_request_id"]: call["amount_nusd"] for call in (*team.books(), *spare.books())}
    paid = {row["request_id"]: row["amount_nusd"] for row in team.spent_in_ledger()}
    assert paid == {request_id: amount for request_id, amount in billed.items() if amount}


def test_without_a_meter_nobody_is_told_of_a_failure_and_the_call_is_answered_all_the_same(
    gateways: RunningSystem,
) -> None:
    team, _ = new_team(gateways.system, "unmetered")
    team.behave(fail_status=503, fail_times=2)
    meters = process_ids("bursar-pluginserver", "llm-token-meter", str(gateways.run))
    for meter in meters:
        kill_at_once(meter)

    assert all(call_all(sdks(gateways, team), team, 2))

    assert meters
    assert_no_hold_is_left(team)


def test_while_redis_hangs_a_failure_is_told_by_the_provider_alone(gateways: RunningSystem) -> None:
    team, spare = new_team(gateways.system, "unmarked")
    without_hard_budget(team)
    clients = sdks(gateways, team)
    assert call_all(clients, team, 2) == [True] * 2

    with hung(gateways.stack, "valkey"):
        team.behave(fail_status=503)
        answer = team.post(team.request(max_tokens=5))
        assert answer.status_code == 503
        assert "x-should-retry" not in answer.headers, "without Redis, nobody knows whether a retry would go elsewhere"
        team.behave()
        assert all(call_all(clients, team, 2))

    team.behave(fail_status=503)
    assert all(call_all(clients, team, 10)), "once Redis is back"
    assert spare.books()
    assert_no_hold_is_left(team)
