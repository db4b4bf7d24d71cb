"""The waiting room: who waits is admitted in turn, nobody is woken for nothing, and who leaves is missed at once."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
import redis

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import PolicyUnavailable, RateLimitExceeded, StoreClosed
from kong_plugins.llm.limits import LimitCheck, Waiting
from kong_plugins.llm.release import Scope
from kong_plugins.llm.store import Store
from kong_plugins.llm.waiting import Visit, WaitingRoom
from tests.llm.gateway import Gateway, body
from tests.llm.proxy import LossyProxy
from tests.llm.waiters import Waiters, end, grant_of, refusal_of, waiters_of
from tests.servers import eventually

TEAM = Scope(kind="team", subject=None)


def standing_in_lines(client: redis.Redis, gateway: Gateway) -> Any:
    return client.zcard(f"bursar:{{{gateway.organization}}}:waiting")


def listeners(client: redis.Redis, organization: str) -> int:
    [(_, count)] = client.pubsub_numsub(f"bursar:{{{organization}}}:freed")
    return int(count)


# Calls.


def test_a_call_waits_for_a_slot_and_is_told_how_long(busy: Gateway, waiters: Waiters) -> None:
    first = busy.admit()
    waiting = waiters.begin()

    end(busy, first)

    grant = grant_of(waiting)
    queued_ms = grant.meter.facts.queued_ms
    assert queued_ms is not None
    assert grant.response_headers["x-bursar-queued-ms"] == str(queued_ms)
    assert first.meter.facts.queued_ms is None
    assert "x-bursar-queued-ms" not in first.response_headers
    end(busy, grant)
    assert [event.queued_ms for event in busy.events()] == [None, queued_ms]
    assert len(busy.admission.room) == 0


def test_calls_are_admitted_in_the_order_in_which_they_came(busy: Gateway, waiters: Waiters) -> None:
    running = busy.admit()
    for waiter in [waiters.begin() for _ in range(4)]:
        end(busy, running)
        running = grant_of(waiter)


def test_a_critical_call_goes_before_the_normal_ones_that_wait(busy: Gateway, waiters: Waiters) -> None:
    _, critical_key = busy.new_key(tier="critical")
    running = busy.admit()
    normal, critical = waiters.begin(), waiters.begin(key=critical_key)

    end(busy, running)
    running = grant_of(critical)
    end(busy, running)

    grant_of(normal)


def test_a_newcomer_does_not_overtake_and_a_call_that_will_not_wait_is_refused(busy: Gateway, waiters: Waiters) -> None:
    running = busy.admit()
    first, second = waiters.begin(), waiters.begin()
    end(busy, running)
    running = grant_of(first)

    with pytest.raises(RateLimitExceeded):
        busy.admission.admit(busy.caller(x_bursar_max_wait_ms="0"), body(), "openai_chat")

    end(busy, running)
    grant_of(second)


def test_a_call_waits_as_long_as_it_says_and_its_refusal_says_how_long_that_was(
    busy: Gateway, waiters: Waiters
) -> None:
    busy.admit()

    refusal = refusal_of(waiters.begin(headers={"x_bursar_max_wait_ms": "300"}))

    assert isinstance(refusal, RateLimitExceeded)
    assert int(refusal.headers()["x-bursar-queued-ms"]) >= 300
    [refused] = busy.events()
    assert (refused.kind, refused.refusing_scope) == ("refused", "team limit of concurrent requests")
    assert refused.queued_ms is not None
    assert refused.queued_ms >= 300


def test_a_client_that_is_gone_leaves_its_place_to_the_next(
    busy: Gateway, waiters: Waiters, client: redis.Redis
) -> None:
    left = threading.Event()

    def beat() -> None:
        if left.is_set():
            raise SystemExit

    running = busy.admit()
    leaving = waiters.begin(beat=beat)
    staying = waiters.begin()
    left.set()

    assert isinstance(leaving.exception(timeout=30), SystemExit)
    eventually(lambda: standing_in_lines(client, busy) == 1, "its place is free")
    end(busy, running)
    end(busy, grant_of(staying))
    assert busy.store.open_holds(busy.organization) == 0


def test_a_grant_that_can_be_given_to_nobody_ends_its_hold_and_the_line_moves_on(
    busy: Gateway, waiters: Waiters
) -> None:
    running = busy.admit()
    next_one = waiters.begin()

    with pytest.raises(SystemExit), busy.admission.giving_out(running):
        raise SystemExit

    grant_of(next_one)
    [voided] = busy.events()
    assert (voided.kind, voided.outcome, voided.amount_nusd) == ("voided", "not_sent", 0)


@pytest.mark.parametrize("room", [{"max_waiting": 1}, {"max_waiting_bytes": 100}], ids=["calls", "bytes"])
def test_a_call_that_finds_no_room_is_refused(busy: Gateway, client: redis.Redis, room: dict[str, int]) -> None:
    busy.admission = Admission(busy.store, msgspec.structs.replace(busy.settings, **room))
    with waiters_of(busy) as waiters:
        running = busy.admit()
        waiting = waiters.begin()

        with pytest.raises(RateLimitExceeded):
            busy.admit()

        assert standing_in_lines(client, busy) == 1
        end(busy, running)
        end(busy, grant_of(waiting))
        running = busy.admit()
        end(busy, running)


def test_a_store_that_goes_away_ends_the_wait(busy: Gateway, redis_address: str) -> None:
    with LossyProxy(redis_address) as network:
        store = Store.from_url(network.url, timeout_ms=2000)
        busy.admission = Admission(store, busy.settings)
        with waiters_of(busy) as waiters:
            busy.admit()
            waiting = waiters.begin()
            network.answers_to_lose = 1000

            assert isinstance(refusal_of(waiting), PolicyUnavailable)
            assert len(busy.admission.room) == 0
        store.close()


# The room itself.


def waiting_for(organization: str, *, limit: str = "slots", place: int = 1) -> Waiting:
    check = LimitCheck(
        id=limit,
        kind="team",
        subject=organization,
        scope_name="team limit of concurrent requests",
        unit="concurrency",
        amount=1,
        window_ms=60_000,
        cost=1,
        shadow=False,
    )
    return Waiting(check=check, place=place, retry_ms=1000)


class Sleeper:
    """A visit that only waits, and counts its turns."""

    def __init__(self, room: WaitingRoom, name: str, waiting: Waiting) -> None:
        self.turns = 0
        self._waiting = waiting
        self._stopped = threading.Event()
        self._visit: Visit = room.visit(waiting.check.subject, name, size_bytes=10, patience_ms=None)
        self._thread = threading.Thread(target=self._sleep)
        before = len(room)
        self._thread.start()
        eventually(lambda: len(room) > before, "it waits")

    def _sleep(self) -> None:
        with self._visit:
            while not self._stopped.is_set():
                self.turns += self._visit.wait(self._waiting)

    def leave(self) -> None:
        self._stopped.set()
        self._visit.wake()
        self._thread.join()


@pytest.fixture
def room(store: Store) -> WaitingRoom:
    return WaitingRoom(store, most_waiting=10, most_bytes=1000)


def free(client: redis.Redis, organization: str, sleeper: Sleeper) -> None:
    """Say once that something was freed, when somebody listens; return when it is heard."""
    eventually(lambda: listeners(client, organization) == 1, "somebody listens")
    before = sleeper.turns
    client.publish(f"bursar:{{{organization}}}:freed", "")
    eventually(lambda: sleeper.turns > before, "it is heard")


def test_only_the_first_of_each_line_is_woken_and_when_it_leaves_the_next(
    room: WaitingRoom, client: redis.Redis, organization: str
) -> None:
    second = Sleeper(room, "second", waiting_for(organization, place=2))
    eventually(lambda: second.turns == 1, "what was freed before one listened was missed")
    first = Sleeper(room, "first", waiting_for(organization, place=1))
    other = Sleeper(room, "other", waiting_for(organization, limit="rpm", place=3))

    free(client, organization, first)
    eventually(lambda: other.turns > 0, "the first of the other line is woken too")
    assert second.turns == 1
    first.leave()
    eventually(lambda: second.turns == 2, "the next one tries")

    second.leave()
    other.leave()


def test_another_organizations_calls_are_left_alone(room: WaitingRoom, client: redis.Redis, organization: str) -> None:
    other = Sleeper(room, "other", waiting_for(f"{organization}-other"))
    eventually(lambda: other.turns == 1, "it is listened for")
    own = Sleeper(room, "own", waiting_for(organization))

    free(client, organization, own)
    own.leave()

    assert other.turns == 1
    other.leave()


def test_nobody_listens_where_nobody_waits(room: WaitingRoom, client: redis.Redis, organization: str) -> None:
    assert listeners(client, organization) == 0
    sleepers = [Sleeper(room, str(number), waiting_for(organization, place=number)) for number in range(3)]
    eventually(lambda: listeners(client, organization) == 1, "one connection listens for all")

    for sleeper in sleepers:
        sleeper.leave()

    eventually(lambda: listeners(client, organization) == 0, "nobody listens")


def test_a_connection_that_was_cut_is_made_again(redis_address: str, client: redis.Redis, organization: str) -> None:
    with LossyProxy(redis_address) as network:
        far_store = Store.from_url(network.url, timeout_ms=2000)
        sleeper = Sleeper(WaitingRoom(far_store, most_waiting=10, most_bytes=1000), "far", waiting_for(organization))
        eventually(lambda: sleeper.turns == 1, "it is listened for")

        network.lead_to(redis_address)

        eventually(lambda: sleeper.turns >= 2, "it is listened for again")
        free(client, organization, sleeper)
        sleeper.leave()
        eventually(lambda: listeners(client, organization) == 0, "nobody listens")
        far_store.close()


def test_a_store_is_closed_once_nobody_listens_any_more_and_nobody_complains(
    redis_address: str, client: redis.Redis, organization: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.from_url(redis_address, timeout_ms=5_000)
    sleeper = Sleeper(WaitingRoom(store, most_waiting=10, most_bytes=1000), "late", waiting_for(organization))
    eventually(lambda: listeners(client, organization) == 1, "somebody listens")

    store.close()

    eventually(lambda: not listening_threads(organization), "the thread has ended")
    assert (listeners(client, organization), caplog.records) == (0, [])
    sleeper.leave()
    with pytest.raises(StoreClosed), store.freed(organization):
        pass


def listening_threads(organization: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"listener of {organization}"]
