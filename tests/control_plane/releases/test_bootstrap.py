"""`manage.py bootstrap`: everything that a new installation needs, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from control_plane.api.models import ApiToken
from control_plane.releases.models import Release
from control_plane.releases.services import republish
from control_plane.teams.models import Organization, User
from kong_plugins.llm.store import Store
from tests.control_plane.cast import Api, admits

PASSWORD = "a password that somebody has chosen"
TOKEN = "a-token-that-somebody-has-chosen-long-enough"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bootstrap(organization: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command for an organization; gives what it says."""

    def run(*arguments: str) -> Any:
        call_command("bootstrap", "--organization", organization, *arguments)
        [line] = capsys.readouterr().out.splitlines()
        return json.loads(line)

    return run


def test_a_new_installation_can_be_used_at_once(bootstrap: Callable[..., Any], store: Store, organization: str) -> None:
    said = bootstrap("--name", "Acme Corp", "--time-zone", "Europe/Berlin")

    alice = User.objects.get(username=said["admin"]["username"])
    row = Organization.objects.get()
    api = Api(organization=row, user=alice, token=said["api_token"], store=store)
    assert (row.slug, row.name, row.time_zone) == (organization, "Acme Corp", "Europe/Berlin")
    assert alice.check_password(said["admin"]["password"])
    assert alice.is_superuser
    assert alice.password.startswith("argon2")
    assert api.get("teams")["results"] == []
    assert said["ready"]
    assert admits(store, organization)


def test_a_second_run_changes_nothing_and_tells_no_secret(bootstrap: Callable[..., Any], organization: str) -> None:
    first = bootstrap()
    rows = [list(model._default_manager.values()) for model in (Organization, User, ApiToken, Release)]

    second = bootstrap("--name", "Another name")

    admin = {"username": "admin", "password": None}
    assert second == {"organization": organization, "admin": admin, "api_token": None, "ready": True}
    assert first["admin"]["password"]
    assert rows == [list(model._default_manager.values()) for model in (Organization, User, ApiToken, Release)]


def test_given_secrets_are_made_true_and_never_echoed(
    bootstrap: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store
) -> None:
    made_up = bootstrap()
    password_file = tmp_path / "password"
    password_file.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("BURSAR_ADMIN_PASSWORD_FILE", str(password_file))
    monkeypatch.setenv("BURSAR_API_TOKEN", TOKEN)

    said = [bootstrap(), bootstrap()]

    alice = User.objects.get()
    api = Api(organization=Organization.objects.get(), user=alice, token=TOKEN, store=store)
    assert [(line["admin"]["password"], line["api_token"]) for line in said] == [(None, None)] * 2
    assert alice.check_password(PASSWORD)
    assert not alice.check_password(made_up["admin"]["password"])
    assert api.call("GET", "teams").status_code == 200


def test_a_weak_token_is_refused_and_nothing_is_made(
    bootstrap: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURSAR_API_TOKEN", "short")

    with pytest.raises(CommandError, match="32"):
        bootstrap()

    assert not Organization.objects.exists()
    assert not User.objects.exists()


def test_a_redis_that_has_lost_its_counters_is_not_opened_until_they_are_rebuilt(
    bootstrap: Callable[..., Any], forget_everything: Callable[[], None], store: Store, organization: str
) -> None:
    bootstrap()
    forget_everything()

    assert bootstrap()["ready"] is False
    assert store.get_policy(organization) is None

    republish(Organization.objects.get().pk)
    assert bootstrap()["ready"] is False, "the policy is there again, and the counters are not"
    assert not admits(store, organization)

    call_command("rebuild_counters", "--gateways-look-within=0", "--organization", organization, stdout=StringIO())
    assert bootstrap()["ready"] is True
    assert admits(store, organization)
    assert Organization.objects.get().readiness_epoch == 2
