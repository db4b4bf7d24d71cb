"""The second factor of people with a password: set up, asked for, required, and kept sealed."""

from __future__ import annotations

import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import hotp_value
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from control_plane.releases.rotation import rotate
from control_plane.teams.models import User
from control_plane.teams.people import change_person, create_person
from kong_plugins.llm.credentials import new_credential_key
from tests.control_plane.cast import Api

_PASSWORD = "correct horse battery staple"


@pytest.fixture
def carol(api: Api) -> User:
    cache.clear()
    return create_person(organization=api.organization, username="carol", role="auditor", password=_PASSWORD)


def log_in() -> tuple[Client, str]:
    browser = Client()
    answer = browser.post("/admin/login/", {"login": "carol", "password": _PASSWORD})
    return browser, answer["location"]


def code(secret: str) -> str:
    cache.clear()  # a code is good once, and this one is asked for sooner than the next one comes
    return f"{hotp_value(secret, int(time.time()) // 30):06}"


def set_up(browser: Client) -> str:
    """The secret of the authenticator app that was set up."""
    asked_again = browser.get("/admin/two-factor/totp/activate/")["location"]
    assert asked_again.startswith("/admin/reauthenticate/")
    page = browser.post(asked_again, {"password": _PASSWORD}, follow=True).content.decode()
    found = re.search(r'value="([A-Z2-7]{32})"', page)
    assert found, page
    secret = found.group(1)
    answer = browser.post("/admin/two-factor/totp/activate/", {"code": code(secret)})
    assert answer.status_code == 302, answer.content.decode()
    return secret


def test_who_must_have_a_second_factor_sets_it_up_first_and_is_asked_for_it_from_then_on(
    carol: User, settings: Settings
) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    browser, _ = log_in()
    assert browser.get("/admin/")["location"] == "/admin/two-factor/totp/activate/"
    assert browser.get("/api/v1/people").status_code == 403

    secret = set_up(browser)

    assert browser.get("/admin/").status_code == 200
    assert browser.get("/api/v1/people").status_code == 200
    again, asked = log_in()
    assert asked.startswith("/admin/two-factor/authenticate/")
    assert again.get("/admin/").status_code == 302
    assert "Incorrect code" in again.post(asked, {"code": "000000"}).content.decode()
    assert again.post(asked, {"code": code(secret)})["location"] == "/admin/"
    assert again.get("/admin/").status_code == 200


def test_secrets_are_sealed_and_move_with_the_master_key(carol: User, settings: Settings) -> None:
    secret = set_up(log_in()[0])
    assert not [row for row in Authenticator.objects.all() if secret in str(row.data)]

    settings.CREDENTIAL_KEY = f"{new_credential_key()} {settings.CREDENTIAL_KEY}"
    assert rotate().moved == Authenticator.objects.count() == 2
    settings.CREDENTIAL_KEY = settings.CREDENTIAL_KEY.split()[0]

    browser, asked = log_in()
    assert browser.post(asked, {"code": code(secret)})["location"] == "/admin/"


def test_who_is_switched_off_loses_sessions_and_tokens_for_good(api: Api, carol: User) -> None:
    browser, _ = log_in()
    issued = api.create("tokens", name="nightly", username="alice")
    assert browser.get("/admin/").status_code == 200

    change_person(carol.pk, is_active=False)
    assert browser.get("/admin/").status_code == 302
    change_person(carol.pk, is_active=True)
    assert browser.get("/admin/").status_code == 302
    assert log_in()[1] == "/admin/"

    change_person(api.user.pk, is_active=False)
    change_person(api.user.pk, is_active=True)
    assert Client(headers={"authorization": f"Token {issued['token']}"}).get("/api/v1/people").status_code == 401
    assert api.call("GET", "people").status_code == 401
