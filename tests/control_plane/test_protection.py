"""What stands before every page: proxies that are believed, ids of requests, bounds of bodies, what pages may load."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from ipaddress import ip_network

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from control_plane.protection import RequestIdFilter, known_client, named_request
from stack.programs import REPOSITORY
from tests.control_plane.cast import Api
from tests.control_plane.test_environment import COMPLETE

PRODUCTION = COMPLETE | {
    "BURSAR_ALLOWED_HOSTS": "bursar.example.com",
    "BURSAR_SECRET_KEY": "jH3nC7oYvT0qKd5wUe8rLz2xPb6sMf9gAi4tRk1yQXWZVhJDeF6uNaB",
    "BURSAR_TRUSTED_PROXIES": "10.0.0.0/8",
}


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env=base | PRODUCTION | changes,
        capture_output=True,
        text=True,
        check=False,
    )


def test_django_has_nothing_to_say_against_the_settings_of_production() -> None:
    checked = manage("check", "--deploy", "--fail-level=WARNING")
    weak = manage("check", "--deploy", "--fail-level=WARNING", BURSAR_SECRET_KEY="short", BURSAR_DEBUG="1")

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout
    assert weak.returncode != 0
    assert {"security.W009", "security.W018"} <= set(re.findall(r"security\.W\d+", weak.stderr))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_proxies_of_ours_say_who_the_client_is(
    settings: Settings, peer: str, forwarded_for: str, client: str
) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    seen: list[HttpRequest] = []
    request = RequestFactory().get(
        "/", headers={"x-forwarded-for": forwarded_for, "x-forwarded-proto": "https"}, REMOTE_ADDR=peer
    )

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    known_client(answer)(request)

    assert seen[0].META["REMOTE_ADDR"] == client
    assert seen[0].is_secure() == peer.startswith("10.")


def test_a_request_is_named_in_the_answer_and_in_the_logs() -> None:
    records: list[str] = []

    def answer(request: HttpRequest) -> HttpResponse:
        record = logging.makeLogRecord({})
        RequestIdFilter().filter(record)
        records.append(record.__dict__["request_id"])
        return HttpResponse()

    given = named_request(answer)(RequestFactory().get("/", headers={"x-request-id": "from-the-proxy-1"}))
    other = named_request(answer)(RequestFactory().get("/", headers={"x-request-id": "no id\r\nx: y"}))

    assert given["x-request-id"] == records[0] == "from-the-proxy-1"
    assert other["x-request-id"] == records[1]
    assert re.fullmatch("[0-9a-f]{32}", records[1])


def test_a_public_site_is_for_https_only_and_its_health_for_whoever_asks(api: Api, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["bursar.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 60
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    client = Client(headers={"host": "bursar.example.com"})

    assert client.get("/admin/login/").headers["location"] == "https://bursar.example.com/admin/login/"
    over_tls = client.get("/admin/login/", headers={"x-forwarded-proto": "https"})
    assert (over_tls.status_code, over_tls["strict-transport-security"]) == (200, "max-age=60")
    assert [client.get(f"/api/v1/health{part}").status_code for part in ("", "/live")] == [200, 200]


def test_a_body_that_is_too_large_is_refused_before_anybody_reads_it(api: Api, pages: Client) -> None:
    too_large = "x" * 2_621_441

    answer = api.call("POST", "teams", json.dumps({"slug": "search", "name": too_large}))

    assert (answer.status_code, answer["content-type"]) == (413, "application/problem+json")
    assert answer.json()["detail"] == "A body has at most 2621440 bytes."
    assert pages.post("/admin/teams/team/add/", {"name": too_large}).status_code == 413


def test_pages_load_from_us_only_and_the_admin_may_evaluate_its_components(pages: Client) -> None:
    admin, outside = (pages.get(path)["content-security-policy"].split("; ") for path in ("/admin/", "/api/v1/health"))

    assert {"default-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "object-src 'none'"} <= set(outside)
    assert not [part for part in outside if "unsafe" in part]
    assert set(admin) - set(outside) == {"script-src 'self' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'"}


def test_liveness_asks_nobody_else() -> None:
    # No database is at hand here: a view that asked for one would raise.
    assert Client().get("/api/v1/health/live").json() == {"status": "ok"}
