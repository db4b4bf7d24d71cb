"""`manage.py ingest` as a process: killed, stopped, and cut off from its database."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum

from control_plane.ledger.models import HourRollup, UsageEvent
from control_plane.ledger.reconciliation import first_difference
from tests.control_plane.cast import environment
from tests.control_plane.ledger.traffic import Traffic

REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 30


def eventually(condition: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.005)


@contextmanager
def ingest_process(**changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ingests under a name that it keeps over restarts; killed at the end, if it still runs."""
    command = [sys.executable, "manage.py", "ingest", "--consumer", "the process"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment(**changes), stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def recorded(traffic: Traffic) -> int:
    return UsageEvent.objects.filter(organization=traffic.slug).count()


def assert_recorded_once(traffic: Traffic, amounts: range) -> None:
    events = UsageEvent.objects.filter(organization=traffic.slug)
    assert list(events.order_by("amount_nusd").values_list("amount_nusd", flat=True)) == list(amounts)
    assert HourRollup.objects.filter(organization=traffic.slug).aggregate(total=Sum("amount_nusd"))["total"] == sum(
        amounts
    )
    assert first_difference(traffic.organization) is None


def test_killed_again_and_again_it_records_every_event_once(traffic: Traffic) -> None:
    """Calls come in all the while; each life ends as soon as it has recorded something."""
    numbers = itertools.count()
    for _ in range(2):
        before = recorded(traffic)
        with ingest_process() as process:
            while recorded(traffic) == before:
                traffic.call(amount_nusd=next(numbers))
            process.send_signal(signal.SIGKILL)
    total = next(numbers)

    with ingest_process():
        eventually(lambda: recorded(traffic) == total, "all events")

    assert_recorded_once(traffic, range(total))


def test_a_stopped_process_finishes_its_batch_and_ends_without_an_error(traffic: Traffic) -> None:
    traffic.call()
    with ingest_process() as process:
        eventually(lambda: recorded(traffic) == 1, "the event")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0

    assert traffic.store.read_events(traffic.slug, "the process", most=10, block_ms=0) == []


def test_a_lost_database_connection_is_made_anew(traffic: Traffic) -> None:
    with ingest_process():
        traffic.call(amount_nusd=0)
        eventually(lambda: recorded(traffic) == 1, "the first event")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for number in range(1, 50):
            traffic.call(amount_nusd=number)
        eventually(lambda: recorded(traffic) == 50, "the other events")

    assert_recorded_once(traffic, range(50))


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_it_waits_for_what_is_away_and_can_be_stopped_meanwhile(traffic: Traffic, name: str, tmp_path: Path) -> None:
    away = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": f"postgresql:///bursar?host={tmp_path}"}[name]
    with ingest_process(**{name: away}) as process:
        assert process.stderr is not None
        assert any(b"cannot ingest, trying again" in line for line in process.stderr)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
