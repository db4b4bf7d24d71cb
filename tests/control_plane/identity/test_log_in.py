"""Log-in with a password of ours: throttled, switched off, and the way in when nothing else is left."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

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


def attempt(password: str = _PASSWORD, *, username: str = "carol", address: str = "198.51.100.1") -> tuple[Client, str]:
    """A browser after an attempt, and what the page says; "" if it is in."""
    browser = Client()
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


def test_guesses_are_counted_by_person_and_address(carol: User) -> None:
    for _ in range(5):
        assert "not correct" in attempt("a guess")[1]

    assert "Too many failed login attempts" in attempt("a guess")[1]
    assert "Too many failed login attempts" in attempt()[1]


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
