"""Lines as clients meet them: who waits is served in turn, who leaves is missed at once, and nobody waits for ever."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis

from stack.processes import kill_at_once
from stack.system import Stack
from tests.e2e.conftest import SETTINGS, RunningSystem
from tests.e2e.system import System, Team, eventually
from tests.e2e.test_kill import seconds_until_served

pytestmark = [pytest.mark.xdist_group("queue"), pytest.mark.timeout(180)]

MOST_WAITING: Final = 18
PATIENCE_S: Final = 30


class Queue:
    """A team with one slot at once unless said otherwise, and who stands in its line."""

    def __init__(self, running: RunningSystem, redis_client: redis.Redis, crowd: ThreadPoolExecutor) -> None:
        self.running = running
        self.system = running.system
        self._redis: Any = redis_client
        self._crowd = crowd
        self.team = self.new_team("queue", slots=1)

    def new_team(self, name: str, *, slots: int) -> Team:
        team = self.system.new_team(name)
        limit = self.system.new_limit(team, "concurrency", slots)
        self.system.change(f"/api/v1/limits/{limit['id']}", queue_seconds=60)
        return team

    def key(self, tier: str) -> str:
        """Another key of the team, whose calls come after the team's own."""
        key = self.system.create("keys", team=self.team.slug, name=f"{self.team.slug}-{tier}", own_tier=tier)
        text: str = key["key"]
        return text

    @property
    def length(self) -> int:
        """How many calls are known to wait."""
        seconds, microseconds = self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        count: int = self._redis.zcount("bursar:{acme}:waiting", f"({now_ms}", "+inf")
        return count

    def stand(self, **headers: str) -> Future[httpx.Response]:
        """Make a call that has to wait, and go on once it stands in the line."""
        before = self.length
        call = self._crowd.submit(self.team.post, self.team.request(max_tokens=5), **headers)
        eventually(lambda: self.length > before or call.done(), within_s=PATIENCE_S, what="it stands in the line")
        assert not call.done(), call.result().text
        return call

    @contextmanager
    def slot_taken(self) -> Iterator[None]:
        """The team's slot is taken by a stream, until the context is left."""
        team = self.team
        team.behave(token_ms=20, output_tokens=4000)
        url = f"{self.system.gateway}/v1/chat/completions"
        body = team.request(max_tokens=4000, stream=True)
        bearer = {"authorization": f"Bearer {team.key}"}
        with httpx.stream("POST", url, json=body, headers=bearer, timeout=60) as answer:
            lines = answer.iter_lines()  # to forget it would end the stream
            next(lines)
            team.behave()
            yield


@contextmanager
def call_in_one_piece(team: Team) -> Iterator[None]:
    """A call whose head and body are sent at once, and whose client hangs up when the context is left. A body that
    nginx had to wait for keeps it from looking whether the client is still there (docs/when-a-limit-is-reached.md)."""
    gateway = httpx.URL(team.system.gateway)
    body = json.dumps(team.request(max_tokens=5)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {gateway.host}\r\nauthorization: Bearer {team.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((gateway.host, gateway.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        yield


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    run = tmp_path_factory.mktemp("system")
    settings = SETTINGS | {"BURSAR_MAX_WAITING": str(MOST_WAITING)}
    with Stack(run, settings=settings) as stack, System(stack.ready) as system:
        yield RunningSystem(stack, system, run)


@pytest.fixture
def queue(running: RunningSystem) -> Iterator[Queue]:
    with redis.Redis.from_url(redis_url(running.run)) as client, ThreadPoolExecutor(MOST_WAITING + 2) as crowd:
        yield Queue(running, client, crowd)


def redis_url(run: Path) -> str:
    lines = (run / "gateway" / "edge.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)["REDIS_URL"]


def served_order(team: Team, calls: dict[str, Future[httpx.Response]]) -> list[str]:
    """The calls' names in the order in which they reached the provider; all were answered."""
    answers = {name: call.result(timeout=60) for name, call in calls.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(calls, 200)
    names = {answer.headers["x-bursar-request-id"]: name for name, answer in answers.items()}
    return [names[call["client_request_id"]] for call in team.books() if call["client_request_id"] in names]


def test_twenty_calls_with_two_slots_are_all_served(queue: Queue) -> None:
    team = queue.new_team("twenty", slots=2)
    team.behave(first_token_ms=100)

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: team.post(team.request(max_tokens=5)), range(20)))

    assert [answer.status_code for answer in answers] == [200] * 20
    queued = [answer.headers["x-bursar-queued-ms"] for answer in answers if "x-bursar-queued-ms" in answer.headers]
    assert len(queued) >= 10
    eventually(lambda: len(team.spent_in_ledger()) == 20, within_s=20, what="every call in the ledger")
    in_ledger = [str(row["queued_ms"]) for row in team.spent_in_ledger() if row["queued_ms"] is not None]
    assert sorted(in_ledger) == sorted(queued)
    assert queue.length == 0


def test_calls_are_served_by_tier_and_then_in_the_order_in_which_they_came(queue: Queue) -> None:
    lab = {"authorization": f"Bearer {queue.key('experimental')}"}
    with queue.slot_taken():
        calls = {
            "experiment": queue.stand(**lab),
            "first": queue.stand(),
            "second": queue.stand(),
            "later experiment": queue.stand(**lab),
        }

    assert served_order(queue.team, calls) == ["first", "second", "experiment", "later experiment"]


def test_a_newcomer_does_not_overtake(queue: Queue) -> None:
    queue.team.behave(first_token_ms=50)
    with queue.slot_taken():
        waiting = {f"waiting {number}": queue.stand() for number in range(5)}
        newcomers_key = {"x-bursar-max-wait-ms": "0"}
        assert queue.team.post(queue.team.request(max_tokens=5), **newcomers_key).status_code == 429
        last = {"newcomer": queue.stand()}

    assert served_order(queue.team, waiting | last) == [*waiting, "newcomer"]


def test_a_client_that_leaves_frees_its_place_and_reaches_nobody(queue: Queue) -> None:
    team = queue.team
    with queue.slot_taken():
        with call_in_one_piece(team):
            eventually(lambda: queue.length == 1, within_s=PATIENCE_S, what="the one that leaves stands in the line")
        staying = queue.stand()
        eventually(lambda: queue.length == 1, within_s=PATIENCE_S, what="the one that left stands there no more")

    assert staying.result(timeout=60).status_code == 200
    assert len(team.books()) == 2
    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=20, what="nothing is held")


def test_a_call_that_finds_the_waiting_room_full_is_refused_at_once(queue: Queue) -> None:
    with queue.slot_taken():
        calls = {f"call {number}": queue.stand() for number in range(MOST_WAITING)}

        refused = queue.team.post(queue.team.request(max_tokens=5))

        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert queue.length == MOST_WAITING

    assert len(served_order(queue.team, calls)) == MOST_WAITING


def test_a_question_is_told_of_the_line_and_does_not_stand_in_it(queue: Queue) -> None:
    with queue.slot_taken():
        told = queue.team.post(queue.team.request(), **{"x-bursar-dry-run": "1"}).json()

        assert (told["admitted"], told["waits_for"]) == (False, "team limit of concurrent requests")
        assert queue.length == 0


def test_the_places_of_a_killed_plugin_server_are_soon_free(queue: Queue) -> None:
    team = queue.team
    with queue.slot_taken():
        lost = [queue.stand() for _ in range(3)]
        for process_id in queue.running.plugin_server_ids("llm-rate-limit"):
            kill_at_once(process_id)
        assert [call.result(timeout=60).status_code for call in lost] == [503] * 3
        seconds_until_served(queue.new_team("bystander", slots=1))
        eventually(lambda: queue.length == 0, within_s=PATIENCE_S, what="the places have lapsed")
        waiting = queue.stand()

    assert waiting.result(timeout=60).status_code == 200
    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=20, what="nothing is held")
