"""Webhooks over the REST API: the secret is shown once, and a URL hides no other target."""

from __future__ import annotations

import pytest

from control_plane.alerts.models import Webhook
from control_plane.alerts.signing import secret_of
from tests.control_plane.cast import Api


def test_a_webhook_without_a_secret_is_given_one_which_is_shown_once(api: Api) -> None:
    created = api.create("webhooks", url="https://hooks.example.com/bursar")

    assert created["secret"].startswith("whsec_")
    assert created["active"] is True
    assert "secret" not in api.get(f"webhooks/{created['id']}")
    assert all("secret" not in row for row in api.get("webhooks")["results"])
    stored = Webhook.objects.get(pk=created["id"])
    assert created["secret"] not in stored.sealed_secret
    assert secret_of(stored) == created["secret"]


def test_a_webhook_can_be_moved_switched_off_and_given_another_secret(api: Api) -> None:
    webhook = api.create("webhooks", url="https://hooks.example.com/bursar")["id"]

    moved = api.change(f"webhooks/{webhook}", url="https://hooks.example.com/else", active=False)
    renewed = api.change(f"webhooks/{webhook}", secret="another secret of mine")

    assert (moved["url"], moved["active"]) == ("https://hooks.example.com/else", False)
    assert "secret" not in renewed
    assert secret_of(Webhook.objects.get(pk=webhook)) == "another secret of mine"


def test_the_same_url_twice_is_refused(api: Api) -> None:
    api.create("webhooks", url="https://hooks.example.com/bursar")

    assert api.call("POST", "webhooks", {"url": "https://hooks.example.com/bursar"}).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/bursar",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:port/",
        "https://hooks.example.com\\@elsewhere.example/",
        "https://hooks.example.com/ blank",
        "https://hooks.exämple.com/",
        "https://hooks.example.com/\nhost: elsewhere",
    ],
)
def test_a_url_that_could_lead_elsewhere_is_refused(api: Api, url: str) -> None:
    assert api.refused_fields("POST", "webhooks", {"url": url}) == {"url"}


@pytest.mark.parametrize("secret", ["short", "x" * 201, "ünprintable enough", "with a\nnew line in it"])
def test_a_secret_that_is_not_safe_is_refused(api: Api, secret: str) -> None:
    fields = {"url": "https://hooks.example.com/", "secret": secret}
    assert api.refused_fields("POST", "webhooks", fields) == {"secret"}


def test_an_unknown_field_is_refused(api: Api) -> None:
    fields = {"url": "https://hooks.example.com/", "colour": "red"}
    assert api.refused_fields("POST", "webhooks", fields) == {"colour"}
