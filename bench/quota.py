"""What deciding costs: reserve and post of one call, beside two scripts that do nothing, on a Valkey of its own.

The cases take turns in short rounds, so that what else the machine does slows all of them alike: read the ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import redis

from bench.results import publish
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for
from kong_plugins.llm.release import Budget, Limit, PolicyDocument, Scope
from kong_plugins.llm.store import Store
from stack.ports import free_ports
from stack.valkey import redis_url, valkey_program

ORGANIZATION: Final = "bench"
CALLER: Final = Principal(
    organization=ORGANIZATION,
    team="search",
    key="BENCHKEY0001",
    key_name="bench",
    tier="normal",
    user="alice",
    speaks_for_users=True,
)
DEMAND: Final = Demand(request_model="mini", tokens=2000, cost_nusd=1_000_000)
FIELDS: Final = b'{"outcome":"completed","input_tokens":900,"output_tokens":600,"note":"%s"}' % (b"x" * 400)
EMPTY_SCRIPT: Final = "#!lua\nreturn 1"
TWO_EMPTY_SCRIPTS, TWO_INCREMENTS = "two empty scripts", "two INCR"
ROUNDS: Final = 6

ORGANIZATION_SCOPE, TEAM, KEY, USER = (
    Scope(kind=kind, subject=None) for kind in ("organization", "team", "key", "user")
)


def limit(scope: Scope, unit: Any, window_ms: int = 60_000) -> Limit:
    return Limit(id=f"{scope.kind}-{unit}-{window_ms}", scope=scope, unit=unit, amount=10**12, window_ms=window_ms)


def budget(scope: Scope, unit: Any = "nusd") -> Budget:
    return Budget(id=f"{scope.kind}-{unit}", scope=scope, unit=unit, period="month")


CASES: Final[dict[str, tuple[Limit | Budget, ...]]] = {
    "no rules": (),
    "2 limits, 1 budget": (limit(TEAM, "requests"), limit(TEAM, "tokens"), budget(TEAM)),
    "7 limits, 6 budgets": (
        *(limit(scope, unit) for scope in (ORGANIZATION_SCOPE, TEAM) for unit in ("requests", "tokens")),
        limit(KEY, "requests", 1000),
        limit(KEY, "tokens"),
        limit(KEY, "concurrency"),
        *(budget(scope) for scope in (ORGANIZATION_SCOPE, TEAM, KEY, USER)),
        budget(TEAM, "tokens"),
        budget(TEAM, "requests"),
    ),
}


@dataclass(kw_only=True)
class Work:
    """What was done of one case by a number of processes, in all rounds together."""

    pairs: int = 0
    seconds: float = 0
    client_cpu_seconds: float = 0
    redis_cpu_seconds: float = 0

    @property
    def pairs_per_second(self) -> float:
        return self.pairs / self.seconds


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bench.quota", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=3, help="how long each case is measured")
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    chosen = arguments.parse_args()
    with valkey() as url:
        rows = [row for processes in chosen.processes for row in measured(url, processes, chosen.seconds)]
    publish("bench-quota", rows)


def measured(url: str, processes: int, seconds: float) -> list[dict[str, Any]]:
    """A row a case: what a number of processes, each with one call at a time, get done together."""
    done: defaultdict[str, Work] = defaultdict(Work)
    for _ in range(ROUNDS):
        for case in (TWO_INCREMENTS, TWO_EMPTY_SCRIPTS, *CASES):
            work(url, case, processes, seconds / ROUNDS, done[case])
    return [row(case, processes, done) for case in done]


def row(case: str, processes: int, done: dict[str, Work]) -> dict[str, Any]:
    of = done[case]
    return {
        "case": case,
        "processes": processes,
        "pairs_per_second": round(of.pairs_per_second),
        "of_two_empty_scripts": of.pairs_per_second / done[TWO_EMPTY_SCRIPTS].pairs_per_second,
        "of_two_increments": of.pairs_per_second / done[TWO_INCREMENTS].pairs_per_second,
        "client_cpu_us_per_pair": round(1e6 * of.client_cpu_seconds / of.pairs, 1),
        "redis_cpu_us_per_pair": round(1e6 * of.redis_cpu_seconds / of.pairs, 1),
    }


@contextmanager
def valkey() -> Iterator[str]:
    """A Valkey as in production: append-only file, flushed every second."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_ports().redis
        process = subprocess.Popen(
            valkey_program(Path(folder) / "valkey", port, "bench").command, stdout=subprocess.DEVNULL
        )
        try:
            url = redis_url(port, "bench")
            await_answer(redis.Redis.from_url(url))
            yield url
        finally:
            process.terminate()
            process.wait()


def await_answer(client: redis.Redis) -> None:
    give_up_s = time.monotonic() + 20
    while time.monotonic() < give_up_s:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError("Valkey did not start")


def work(url: str, case: str, processes: int, seconds: float, so_far: Work) -> None:
    """One round of a case, added to those before it."""
    client: Any = redis.Redis.from_url(url)
    client.flushall()
    policy = prepare(url, case)
    # Redis reads a script when it first meets it, which is no part of a pair.
    pair_of(url, case, policy, processes)(0)
    busy_before_s = server_busy_s(client)
    with get_context("fork").Pool(processes) as pool:
        rounds = pool.starmap(run, [(url, case, policy, seconds, number) for number in range(processes)])
    pairs, spent_s, client_cpu_s = (sum(column) for column in zip(*rounds, strict=True))
    so_far.pairs += int(pairs)
    so_far.seconds += spent_s / processes
    so_far.client_cpu_seconds += client_cpu_s
    so_far.redis_cpu_seconds += server_busy_s(client) - busy_before_s


def server_busy_s(client: Any) -> float:
    """The processor time of Redis' main thread, which is what a busy Redis runs out of."""
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])


def prepare(url: str, case: str) -> PolicyDocument:
    """Publish the case's rules, and caps that are never reached."""
    rules = CASES.get(case, ())
    policy = PolicyDocument(
        organization=ORGANIZATION,
        number=1,
        created_by="bench",
        time_zone="Europe/Berlin",
        credentials={},
        deployments=(),
        models=(),
        teams=(),
        limits=tuple(rule for rule in rules if isinstance(rule, Limit)),
        budgets=tuple(rule for rule in rules if isinstance(rule, Budget)),
    )
    store = Store.from_url(url, timeout_ms=5000)
    store.publish_policy(policy)
    store.set_ready(ORGANIZATION, 1)
    for check in checks_for(policy, CALLER, DEMAND, now_ms=now_ms())[1]:
        for period in (check.current, check.following):
            store.set_cap(
                ORGANIZATION,
                check.id,
                check.subject,
                period.name,
                cap=9 * 10**15,
                version=1,
                thresholds_percent=(50, 75, 90, 100),
            )
    return policy


def run(url: str, case: str, policy: PolicyDocument, seconds: float, number: int) -> tuple[int, float, float]:
    """Make pairs until the time is over; return how many, the seconds they took, and those of the processor."""
    pair = pair_of(url, case, policy, number)
    pair(0)
    done, began_s, began_cpu_s = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began_s < seconds:
        done += 1
        pair(done)
    return done, time.perf_counter() - began_s, time.process_time() - began_cpu_s


def pair_of(url: str, case: str, policy: PolicyDocument, number: int) -> Callable[[int], None]:
    """What a case does twice over; `number` keeps the calls of several processes apart."""
    return call_pair(url, policy, number) if case in CASES else idle_pair(url, case)


def idle_pair(url: str, case: str) -> Callable[[int], None]:
    """Twice the least that a script, or any counting at all, costs."""
    client: Any = redis.Redis.from_url(url, protocol=2)
    digest = client.script_load(EMPTY_SCRIPT)

    def two_empty_scripts(_: int) -> None:
        client.evalsha(digest, 0)
        client.evalsha(digest, 0)

    def two_increments(_: int) -> None:
        client.incr("counter")
        client.incr("counter")

    return two_empty_scripts if case == TWO_EMPTY_SCRIPTS else two_increments


def call_pair(url: str, policy: PolicyDocument, number: int) -> Callable[[int], None]:
    store = Store.from_url(url, timeout_ms=5000)

    def pair(index: int) -> None:
        limits, budgets = checks_for(policy, CALLER, DEMAND, now_ms=now_ms())
        request_id = f"{number}-{index}"
        reservation = Reservation(
            organization=ORGANIZATION,
            request_id=request_id,
            policy_number=policy.number,
            lease_ms=660_000,
            hold_nusd=DEMAND.cost_nusd,
            hold_tokens=DEMAND.tokens,
            limits=limits,
            budgets=budgets,
            draft=FIELDS,
        )
        if not isinstance(store.reserve(reservation), Granted):
            raise TypeError("a call of the measurement was not granted")
        store.post(ORGANIZATION, request_id, amount_nusd=900_000, tokens=1500, event_fields=FIELDS)

    return pair


def now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
