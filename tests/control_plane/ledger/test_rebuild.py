"""Redis has lost its counters, and gets them back: from the ledger, and from what gateways send again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection

from control_plane.budgets.models import BudgetPeriod
from control_plane.leases import lease
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.models import UsageEvent
from control_plane.ledger.rebuild import RebuildError, rebuild
from control_plane.ledger.reconciliation import first_difference
from kong_plugins.llm.journal import Journal
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.store import BudgetState, Store
from tests.control_plane.cast import Api, admits
from tests.control_plane.ledger.test_ingest import replay_stream
from tests.control_plane.ledger.traffic import Traffic
from tests.servers import eventually

SEARCH: dict[str, Any] = {"scope": "team", "subject": "search", "period": "month", "amount": 10_000_000_000}


@pytest.fixture
def forget(redis_address: str) -> Callable[[], None]:
    """Redis loses everything."""

    def flush() -> None:
        with redis.Redis.from_url(redis_address) as client:
            client.flushdb()

    return flush


@pytest.fixture
def outbox(store: Store, tmp_path: Path) -> Iterator[Outbox]:
    """The outbox of a gateway that has a journal."""
    outbox = Outbox(store, Journal(tmp_path, "meter"))
    outbox.start()
    yield outbox
    outbox.close()


def run(traffic: Traffic) -> None:
    call_command("rebuild_counters", "--gateways-look-within=0", "--organization", traffic.slug, stdout=StringIO())


def states(traffic: Traffic) -> dict[tuple[str, str], BudgetState | None]:
    """How every budget of a running period stands, by its name and subject."""
    periods = BudgetPeriod.objects.select_related("budget").filter(budget__organization=traffic.organization)
    first = periods.order_by("budget_id", "subject", "starts_at_ms").distinct("budget_id", "subject")
    return {
        (row.budget.name, row.subject): traffic.store.budget_state(
            traffic.slug, row.budget.reference, row.subject, row.name
        )
        for row in first
    }


def counters(redis_address: str, traffic: Traffic) -> dict[tuple[str, str, str], int]:
    """Every counter in Redis that is not zero, by its budget's id, its subject and its field."""
    found: Counter[tuple[str, str, str]] = Counter()
    with redis.Redis.from_url(redis_address, decode_responses=True) as client:
        for name in client.scan_iter(f"bursar:{{{traffic.slug}}}:budget:*", count=1_000):
            _, budget, subject, _ = name.split("}:")[1].split(":")
            for field, text in cast(dict[str, str], client.hgetall(name)).items():
                if field.split(":")[0] in ("spent", "held"):
                    found[budget, subject, field] += int(text)
    return {place: amount for place, amount in found.items() if amount}


def spend_in_every_way(api: Api, traffic: Traffic) -> None:
    """Budgets of every unit and scope, and calls with every end that counts."""
    for team in ("search", "support"):
        api.team(team)
    api.model("mini")
    for unit in ("nusd", "tokens", "requests"):
        api.budget(name=f"{unit} of each team", **SEARCH | {"subject": None, "unit": unit})
    api.budget(name="mini", **SEARCH | {"model": "mini"})
    api.budget(name="all", **SEARCH | {"scope": "organization", "subject": None, "period": "total"})
    api.budget(name="alice", **SEARCH | {"scope": "user", "subject": "alice", "period": "day"})
    traffic.call(amount_nusd=1)
    speaking = api.create("keys", team="support", name="for users", speaks_for_users=True)["id"]
    traffic.call(amount_nusd=20, team="support", user="alice", key=speaking)
    traffic.call(amount_nusd=50_000, team="support", user="alice")
    traffic.call(amount_nusd=300, request_model="large")
    traffic.call(amount_nusd=None)
    traffic.void(traffic.hold())
    late, never = traffic.hold(lease_ms=1), traffic.hold(lease_ms=1)
    traffic.hold(lease_ms=1, team="support", request_model="large")
    eventually(lambda: traffic.store.expire_due(traffic.slug) > 0 or traffic.store.open_holds(traffic.slug) == 0, "end")
    eventually(lambda: traffic.store.expire_due(traffic.slug) == 0, "all leases are over")
    traffic.post(late, amount_nusd=4_000)
    traffic.void(never)


def test_every_counter_is_what_it_was(
    api: Api, traffic: Traffic, consumer: Consumer, forget: Callable[[], None]
) -> None:
    spend_in_every_way(api, traffic)
    consumer.drain()
    before = states(traffic)
    assert len(before) == 9
    assert all(state is not None for state in before.values())
    forget()
    assert set(states(traffic).values()) == {None}

    run(traffic)

    assert states(traffic) == before
    assert first_difference(traffic.organization) is None
    assert admits(traffic.store, traffic.slug)


def test_tiers_shares_and_every_users_own_counter_equal_a_sum_of_our_own(
    api: Api, traffic: Traffic, consumer: Consumer, forget: Callable[[], None], redis_address: str
) -> None:
    api.team()
    pool = api.budget(name="pool", tier_shares_percent={"experimental": 50}, **SEARCH)["id"]
    late = api.budget(name="shared later", **SEARCH)["id"]
    users = api.budget(name="each user", **SEARCH | {"scope": "user", "subject": None, "period": "day"})["id"]
    speaking = api.create("keys", team="search", name="for users", speaks_for_users=True)["id"]
    ours: Counter[tuple[str, str, str]] = Counter()

    def spend(share_since: int, calls: list[tuple[str, str | None, int]]) -> None:
        for tier, user, amount_nusd in calls:
            traffic.call(tier=tier, user=user, key=speaking, amount_nusd=amount_nusd)
            for budget in (pool, late):
                ours[str(budget), "search", "spent"] += amount_nusd
            if tier == "experimental":
                ours[str(pool), "search", "spent:experimental"] += amount_nusd
            if tier in ("experimental", "critical") and share_since:
                ours[str(late), "search", f"spent:{tier}"] += amount_nusd
            if user:
                ours[str(users), user, "spent"] += amount_nusd

    spend(0, [("experimental", "alice", 1), ("normal", "bob", 20), ("critical", None, 300)])
    api.change(f"budgets/{late}", tier_shares_percent={"experimental": 10, "critical": 90})
    spend(1, [("experimental", "alice", 4_000), ("normal", "alice", 50_000), ("critical", "charlie", 600_000)])
    consumer.drain()
    assert counters(redis_address, traffic) == ours
    assert first_difference(traffic.organization) is None
    forget()
    assert first_difference(traffic.organization) is not None

    run(traffic)

    assert counters(redis_address, traffic) == ours
    assert first_difference(traffic.organization) is None
    spend(1, [("experimental", "alice", 7_000_000), ("critical", "dora", 80_000_000)])
    consumer.drain()
    assert counters(redis_address, traffic) == ours
    assert first_difference(traffic.organization) is None


def test_a_call_whose_hold_was_lost_counts_in_its_tiers_share_and_for_its_user_when_the_ledger_takes_it(
    api: Api, traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    api.team()
    pool = api.budget(name="pool", tier_shares_percent={"experimental": 50}, **SEARCH)["id"]
    users = api.budget(name="each user", **SEARCH | {"scope": "user", "subject": None})["id"]
    speaking = api.create("keys", team="search", name="for users", speaks_for_users=True)["id"]
    facts = {"tier": "experimental", "user": "alice", "key": speaking}
    lost = traffic.hold(**facts)
    with redis.Redis.from_url(redis_address) as client:
        client.delete(f"bursar:{{{traffic.slug}}}:hold:{lost}")

    assert traffic.post(lost, amount_nusd=700, **facts) == "orphan"
    for _ in range(2):
        consumer.drain()
        replay_stream(redis_address, traffic)
    consumer.drain()

    found = counters(redis_address, traffic)
    assert {place: amount for place, amount in found.items() if "held" not in place[2]} == {
        (str(pool), "search", "spent"): 700,
        (str(pool), "search", "spent:experimental"): 700,
        (str(users), "alice", "spent"): 700,
    }
    assert first_difference(traffic.organization) is None


def test_calls_go_on_being_counted_after_a_rebuild(
    api: Api, traffic: Traffic, consumer: Consumer, forget: Callable[[], None]
) -> None:
    api.team()
    api.budget(**SEARCH)
    traffic.call(amount_nusd=500)
    consumer.drain()
    forget()
    run(traffic)

    traffic.call(amount_nusd=70)
    consumer.drain()

    [state] = states(traffic).values()
    assert state is not None
    assert (state.spent, state.held) == (570, 0)
    assert first_difference(traffic.organization) is None
    assert UsageEvent.objects.order_by("id").values_list("seq", flat=True)[1] == 2, "the sequence goes on"


def test_a_lost_tail_comes_back_from_the_journal_and_is_counted_once(
    api: Api, traffic: Traffic, consumer: Consumer, forget: Callable[[], None], outbox: Outbox, tmp_path: Path
) -> None:
    api.team()
    api.budget(**SEARCH)
    booked = Traffic(cast(Store, Told(outbox)), traffic.organization, traffic.releases)
    for amount in (1, 20):
        booked.post(traffic.hold(), amount_nusd=amount)
    consumer.drain()
    booked.post(traffic.hold(), amount_nusd=300)
    eventually(lambda: traffic.slug in Journal(tmp_path, "reader").marks(), "the gateway knows its Redis")
    forget()

    with ingesting(consumer):
        run(traffic)
    ended = eventually_drained(traffic, consumer, events=3)

    assert set(ended) == {1, 20, 300}
    [state] = states(traffic).values()
    assert state is not None
    assert (state.spent, state.held) == (321, 0)
    assert first_difference(traffic.organization) is None

    run(traffic)
    assert states(traffic) == {("Search, monthly", "search"): state}, "rebuilt again, it is the same"


def test_a_rebuild_while_calls_run_corrects_a_wrong_counter_and_keeps_their_holds(
    api: Api, traffic: Traffic, consumer: Consumer, redis_address: str
) -> None:
    api.team()
    budget = api.budget(**SEARCH)
    running = traffic.hold()
    traffic.call(amount_nusd=500)
    consumer.drain()
    with redis.Redis.from_url(redis_address) as client:
        names = list(client.scan_iter(f"bursar:{{{traffic.slug}}}:budget:{budget['id']}:search:month-*", count=1_000))
        client.hincrby(min(names), "spent", -499)

    run(traffic)
    traffic.post(running, amount_nusd=70)
    consumer.drain()

    assert [state and (state.spent, state.held) for state in states(traffic).values()] == [(570, 0)]
    assert first_difference(traffic.organization) is None


def test_what_is_still_in_the_stream_is_waited_for(api: Api, traffic: Traffic, consumer: Consumer) -> None:
    api.team()
    api.budget(**SEARCH)
    traffic.call(amount_nusd=500)

    with pytest.raises(CommandError, match="ingest"):
        call_command("rebuild_counters", "--gateways-look-within=0", "--drained-within=0", stdout=StringIO())
    assert not admits(traffic.store, traffic.slug)

    def ingest() -> None:
        consumer.drain()
        connection.close()

    late = threading.Timer(0.2, ingest)
    late.start()
    run(traffic)
    late.join()
    assert first_difference(traffic.organization) is None


def test_two_rebuilds_do_not_run_at_once(traffic: Traffic) -> None:
    taken, ended = threading.Event(), threading.Event()

    def hold_the_lease() -> None:
        with lease(f"rebuild_counters:{traffic.slug}"):
            taken.set()
            ended.wait()
        connection.close()

    other = threading.Thread(target=hold_the_lease)
    other.start()
    taken.wait()
    with pytest.raises(RebuildError, match="already"):
        rebuild(traffic.organization, drained_within_s=0, gateways_look_within_s=0)
    ended.set()
    other.join()
    assert admits(traffic.store, traffic.slug), "who was too late has closed nothing"


@pytest.mark.django_db
def test_an_organization_that_does_not_exist_is_named() -> None:
    with pytest.raises(CommandError, match="no organization nobody"):
        call_command("rebuild_counters", "--organization", "nobody")


@contextmanager
def ingesting(consumer: Consumer) -> Iterator[None]:
    """`manage.py ingest` runs meanwhile, as gateways send again what they have settled."""
    ended = threading.Event()

    def ingest() -> None:
        while not ended.wait(0.05):
            consumer.drain()
        connection.close()

    thread = threading.Thread(target=ingest)
    thread.start()
    yield
    ended.set()
    thread.join()


class Told:
    """A store to which calls' ends go through an outbox, as in a gateway."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def post(self, *arguments: Any, **fields: Any) -> None:
        self._outbox.post(*arguments, **fields)


def eventually_drained(traffic: Traffic, consumer: Consumer, *, events: int) -> list[int | None]:
    """The amounts in the ledger, once it has so many events and nothing more is on its way."""

    def drained() -> bool:
        consumer.drain()
        return UsageEvent.objects.count() >= events

    eventually(drained, f"{events} events")
    return list(UsageEvent.objects.values_list("amount_nusd", flat=True))
