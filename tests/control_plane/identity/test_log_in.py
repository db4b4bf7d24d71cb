"""Log-in with a password of ours: throttled, switched off, and the way in when nothing else is left."""

from __future__ import annotations

from io import StringIO
from ipaddress import ip_network

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from control_plane.identity.checks import check_a_way_in
from control_plane.teams.models import User
from control_plane.teams.people import create_person
from tests.control_plane.cast import Api

_PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def no_failures_before(transactional_db: None) -> None:
    cache.clear()


@pytest.fixture
def carol(api: Api) -> User:
    return create_person(organization=api.organization, username="carol", role="auditor", password=_PASSWORD)


def attempt(
    password: str = _PASSWORD, *, username: str = "carol", address: str = "198.51.100.1", said: str = ""
) -> tuple[Client, str]:
    """A browser after an attempt, and what the page says; "" if it is in. `said` is what X-Forwarded-For has."""
    browser = Client(headers={"x-forwarded-for": said} if said else {})
    answer = browser.post(
        "/admin/login/?next=/admin/teams/team/", {"login": username, "password": password}, REMOTE_ADDR=address
    )
    return browser, "" if answer.status_code == 302 else answer.content.decode()


def test_a_person_logs_in_and_a_service_account_never(api: Api, carol: User) -> None:
    robot = create_person(organization=api.organization, username="robot", role="auditor", is_service=True)
    robot.set_password(_PASSWORD)
    robot.save()

    browser, page = attempt()

    assert page == ""
    assert browser.get("/admin/teams/team/").status_code == 200
    assert "not correct" in attempt(username="robot")[1]


def test_guesses_are_counted_by_person_wherever_they_come_from(carol: User) -> None:
    for number in range(5):
        assert "not correct" in attempt("a guess", address=f"198.51.100.{number}")[1]

    assert "Too many failed login attempts" in attempt("a guess")[1]
    assert "Too many failed login attempts" in attempt()[1]


def test_behind_a_proxy_each_client_is_counted_and_only_the_proxy_says_who_that_is(
    carol: User, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/m/ip"}

    for number in range(3):
        # What a client has written itself stands left of what the proxy has seen.
        attempt("a guess", address="10.0.0.1", said=f"203.0.113.{number}, 198.51.100.7")
    assert "Too many" in attempt(address="10.0.0.1", said="203.0.113.99, 198.51.100.7")[1]
    assert attempt(address="10.0.0.1", said="198.51.100.8")[1] == ""

    for number in range(3):
        attempt("a guess", address="192.0.2.9", said=f"203.0.113.{number}")
    assert "Too many" in attempt(address="192.0.2.9", said="203.0.113.99")[1]


def test_manage_check_says_where_nobody_can_log_in(settings: Settings) -> None:
    assert check_a_way_in() == []
    settings.LOCAL_LOGIN = False
    assert [message.id for message in run_checks() if message.id == "bursar.W001"] == ["bursar.W001"]
    settings.SOCIALACCOUNT_PROVIDERS = {"saml": {}}
    assert check_a_way_in() == []


def test_where_passwords_are_switched_off_a_link_of_the_operators_opens_once(carol: User, settings: Settings) -> None:
    settings.LOCAL_LOGIN = False
    assert "passwords are switched off" in attempt()[1]
    assert 'name="password"' not in Client().get("/admin/login/").content.decode()

    written = StringIO()
    call_command("break_glass", "carol", stdout=written, stderr=StringIO())
    path = written.getvalue().strip()
    browser = Client()

    assert "Log in as carol" in browser.get(path).content.decode()
    assert browser.post(path)["location"] == "/admin/"
    assert browser.get("/admin/").status_code == 200
    assert Client().post(path).status_code == 404
    with pytest.raises(CommandError, match="no active person"):
        call_command("break_glass", "nobody", stdout=written)
