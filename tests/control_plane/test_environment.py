"""Settings come from the environment, and what is missing or wrong is said by name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from control_plane.environment import (
    broker_from,
    database_from,
    flag_from,
    list_from,
    only_loopback,
    seconds_from,
)
from kong_plugins.llm.settings import MissingSetting

COMPLETE = {
    "DATABASE_URL": "postgresql://bursar@localhost/bursar",
    "REDIS_URL": "redis://localhost:6379/0",
    "BURSAR_KEY_PEPPER": "pepper",
    "BURSAR_CREDENTIAL_KEY": "key",
    "BURSAR_SECRET_KEY": "secret",
}


def load_settings(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = "from control_plane import settings as s; print(s.SESSION_COOKIE_SECURE, s.CELERY_BROKER_URL)"
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", program], env=base | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_missing_setting_stops_the_start_and_is_named(name: str) -> None:
    loaded = load_settings({other: value for other, value in COMPLETE.items() if other != name})

    assert loaded.returncode != 0
    assert f"set {name}" in loaded.stderr


def test_cookies_are_secure_unless_the_site_is_for_this_machine_alone() -> None:
    at_home = load_settings(COMPLETE)
    in_public = load_settings(COMPLETE | {"BURSAR_ALLOWED_HOSTS": "bursar.example.com,localhost"})

    assert at_home.stdout.split() == ["False", "redis://localhost:6379/1"]
    assert in_public.stdout.split()[0] == "True"


def test_a_database_url_is_read_as_libpq_reads_it() -> None:
    database = database_from("postgresql://us%40er:p%2Fw@db.example:5433/bursar?sslmode=verify-full&application_name=b")

    assert {name: database[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")} == {
        "USER": "us@er",
        "PASSWORD": "p/w",
        "HOST": "db.example",
        "PORT": "5433",
        "NAME": "bursar",
    }
    assert database["OPTIONS"] == {"sslmode": "verify-full", "application_name": "b"}


def test_a_database_behind_a_socket_can_be_named() -> None:
    database = database_from("postgresql:///bursar?host=/var/run/postgresql")

    assert (database["HOST"], database["NAME"], database["PORT"]) == ("/var/run/postgresql", "bursar", "")


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql://h/x", "bursar"])
def test_only_postgres_will_do(url: str) -> None:
    with pytest.raises(MissingSetting, match="DATABASE_URL"):
        database_from(url)


@pytest.mark.parametrize(
    ("redis_url", "broker"),
    [
        ("redis://:pw@h:6390/0", "redis://:pw@h:6390/1"),
        ("redis://h:6390", "redis://h:6390/1"),
        ("rediss://h/5?ssl_cert_reqs=required", "rediss://h/1?ssl_cert_reqs=required"),
    ],
)
def test_the_broker_is_database_1_of_the_redis_that_counts(redis_url: str, broker: str) -> None:
    assert broker_from({}, redis_url) == broker


def test_another_broker_can_be_named_and_must_be_where_it_cannot_be_told() -> None:
    assert broker_from({"BURSAR_BROKER_URL": "amqp://b"}, "redis://h/0") == "amqp://b"
    with pytest.raises(MissingSetting, match="BURSAR_BROKER_URL"):
        broker_from({}, "unix:///run/redis.sock")


def test_flags_lists_and_seconds_are_read_strictly() -> None:
    assert [flag_from({"F": value}, "F") for value in ("1", "0", "")] == [True, False, False]
    assert list_from({"L": "a, b,,"}, "L") == ["a", "b"]
    assert seconds_from({"S": "7"}, "S", 5) == 7
    assert seconds_from({}, "S", 5) == 5
    for wrong in ("true", "yes", "2"):
        with pytest.raises(MissingSetting, match="F must be"):
            flag_from({"F": wrong}, "F")
    for wrong in ("0", "-1", "1.5", "x", ""):
        with pytest.raises(MissingSetting, match="S must be"):
            seconds_from({"S": wrong}, "S", 5)


def test_loopback_is_this_machine_alone() -> None:
    assert only_loopback(["localhost", "127.0.0.1"])
    assert not only_loopback(["localhost", "bursar.example.com"])
    assert not only_loopback(["*"])
