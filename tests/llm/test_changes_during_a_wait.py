"""What changes while a call waits: a new policy costs nobody the place, and a revoked key ends the wait."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import redis

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import InvalidApiKey, PolicyUnavailable
from kong_plugins.llm.keys import issue_key, key_digest
from tests.llm.gateway import PEPPER, Gateway, now_ms
from tests.llm.waiters import SLOT, Waiters, end, grant_of, refusal_of, waiters_of
from tests.servers import eventually


class Tries:
    """How often a waiting call has tried, as its beat tells."""

    def __init__(self) -> None:
        self._count = 0

    def count(self) -> None:
        self._count += 1

    def wait_for(self, more: int) -> None:
        enough = self._count + more
        eventually(lambda: self._count >= enough, "it tries again")


def test_a_new_policy_costs_nobody_its_place(busy: Gateway, waiters: Waiters) -> None:
    running = busy.admit()
    first = waiters.begin()
    busy.publish(limits=(SLOT,))
    second = waiters.begin()

    end(busy, running)
    running = grant_of(first)
    assert running.meter.facts.release == busy.number
    end(busy, running)
    grant_of(second)


def test_a_wait_ends_where_a_new_policy_has_no_limit(busy: Gateway, waiters: Waiters) -> None:
    busy.admit()
    waiting = waiters.begin()

    busy.publish()

    grant_of(waiting)


def test_a_wait_survives_any_number_of_new_policies(busy: Gateway, waiters: Waiters) -> None:
    running = busy.admit()
    tries = Tries()
    waiting = waiters.begin(beat=tries.count)

    for _ in range(6):
        busy.publish(limits=(SLOT,))
        # The second try from now began after the policy was published.
        tries.wait_for(2)

    assert not waiting.done()
    end(busy, running)
    assert grant_of(waiting).meter.facts.release == busy.number


def test_a_policy_that_cannot_be_read_ends_the_wait(busy: Gateway, waiters: Waiters, client: redis.Redis) -> None:
    busy.admit()
    waiting = waiters.begin()

    client.set(f"bursar:{{{busy.organization}}}:policy_number", busy.number + 1)

    assert isinstance(refusal_of(waiting), PolicyUnavailable)
    busy.number += 1


@pytest.mark.parametrize("change", [{"active": False}, {"expires_at_ms": 1}], ids=["revoked", "expired"])
def test_a_key_that_is_no_longer_in_force_ends_the_wait_of_its_calls(
    busy: Gateway, waiters: Waiters, change: dict[str, Any]
) -> None:
    record, key = busy.new_key()
    running = busy.admit()
    ending, staying = waiters.begin(key=key), waiters.begin()

    busy.store.put_key(msgspec.structs.replace(record, version=2, **change))

    refusal = refusal_of(ending)
    assert (refusal.http_status, refusal.code) == (401, "invalid_api_key")
    end(busy, running)
    grant_of(staying)


def test_a_rotation_costs_nobody_the_place_and_the_end_of_the_former_secret_ends_its_calls_waits(
    busy: Gateway, waiters: Waiters
) -> None:
    record, key = busy.new_key()
    _, newest = issue_key(record.id)
    digest = key_digest(newest, PEPPER)
    running, tries = busy.admit(), Tries()
    by_former = waiters.begin(key=key, beat=tries.count)

    rotated = msgspec.structs.replace(
        record, version=2, generation=2, digest=digest, former_digest=record.digest, former_until_ms=now_ms() + 60_000
    )
    busy.store.put_key(rotated)
    by_newest = waiters.begin(key=newest)
    tries.wait_for(2)
    assert not by_former.done()
    busy.store.put_key(msgspec.structs.replace(rotated, version=3, former_digest=None, former_until_ms=None))

    assert isinstance(refusal_of(by_former), InvalidApiKey)
    end(busy, running)
    assert grant_of(by_newest).meter.facts.key_generation == 2


def test_a_key_that_expires_during_the_wait_is_not_admitted(busy: Gateway) -> None:
    clock_ms = [now_ms()]
    busy.admission = Admission(busy.store, busy.settings, now_ms=lambda: clock_ms[0])
    _, key = busy.new_key(expires_at_ms=now_ms() + 60_000)
    with waiters_of(busy) as waiters:
        running = busy.admit()
        waiting = waiters.begin(key=key)

        clock_ms[0] += 60_001
        end(busy, running)

        assert isinstance(refusal_of(waiting), InvalidApiKey)


@pytest.mark.parametrize("change", [{"team": "support"}, {"tier": "critical"}, {"models": ()}, {"routes": ()}])
def test_a_call_whose_key_has_got_other_rights_is_to_come_again(
    busy: Gateway, waiters: Waiters, change: dict[str, Any]
) -> None:
    record, key = busy.new_key()
    busy.admit()
    waiting = waiters.begin(key=key)

    busy.store.put_key(msgspec.structs.replace(record, version=2, **change))

    refusal = refusal_of(waiting)
    assert (refusal.http_status, refusal.headers()["x-should-retry"]) == (503, "true")


def test_a_key_that_gets_another_name_costs_nobody_the_place(busy: Gateway, waiters: Waiters) -> None:
    record, key = busy.new_key()
    running = busy.admit()
    tries = Tries()
    waiting = waiters.begin(key=key, beat=tries.count, headers={"x_user_id": "alice"})

    busy.store.put_key(msgspec.structs.replace(record, version=2, name="renamed"))
    tries.wait_for(2)

    assert not waiting.done()
    end(busy, running)
    grant_of(waiting)
