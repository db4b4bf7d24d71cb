"""The master key is changed while everything goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from control_plane.alerts.models import Webhook
from control_plane.alerts.signing import secret_of
from control_plane.catalog.models import Provider
from control_plane.releases import rotation
from control_plane.releases.models import Release
from kong_plugins.llm.credentials import credential_key_ids, new_credential_key, open_credential
from tests.control_plane.cast import Api

NEW_KEY = new_credential_key()


@pytest.fixture
def sealed(api: Api) -> Api:
    """An organization with two providers and a webhook, sealed with the old key."""
    api.provider("openai")
    api.provider("anthropic")
    api.create("webhooks", url="https://hooks.example.com/x", secret="a secret of a webhook")
    return api


def rotate(*options: str) -> str:
    out = StringIO()
    call_command("rotate_credential_key", *options, stdout=out, stderr=out)
    return out.getvalue()


def opened(api: Api, credential_key: str) -> set[str]:
    """What gateways with this key open of the policy in force."""
    return {
        open_credential(text, credential_id=name, credential_key=credential_key)
        for name, text in api.policy().credentials.items()
    }


def test_after_a_rotation_everything_opens_with_the_new_key_alone(sealed: Api, settings: Settings) -> None:
    old_key = settings.CREDENTIAL_KEY
    settings.CREDENTIAL_KEY = f"{NEW_KEY},{old_key}"
    [new_id], [old_id] = credential_key_ids(NEW_KEY), credential_key_ids(old_key)

    with pytest.raises(CommandError, match="without --check"):
        rotate("--check")
    assert opened(sealed, old_key) == {"sk-provider"}
    said = rotate()

    assert said == f"under the key {new_id}: 0; moved to it: 3\nnot needed any more: {old_id}\n"
    settings.CREDENTIAL_KEY = NEW_KEY
    assert opened(sealed, NEW_KEY) == {"sk-provider"}
    assert secret_of(Webhook.objects.get()) == "a secret of a webhook"
    with pytest.raises(ValueError, match="BURSAR_CREDENTIAL_KEY lacks"):
        opened(sealed, old_key)
    assert rotate("--check") == f"under the key {new_id}: 3; to be moved to it: 0\n"
    releases = Release.objects.count()
    assert rotate() == f"under the key {new_id}: 3; moved to it: 0\n"
    assert Release.objects.count() == releases


def test_a_credential_whose_key_is_gone_is_named_and_the_others_are_moved(sealed: Api, settings: Settings) -> None:
    old_key = settings.CREDENTIAL_KEY
    settings.CREDENTIAL_KEY = new_credential_key()
    sealed.change("providers/anthropic", credential="sk-with-a-lost-key")
    settings.CREDENTIAL_KEY = f"{NEW_KEY},{old_key}"

    with pytest.raises(CommandError, match="1 cannot be moved"):
        rotate()

    settings.CREDENTIAL_KEY = NEW_KEY
    provider = Provider.objects.get(name="openai")
    assert open_credential(provider.sealed_credential, credential_id=provider.credential_id, credential_key=NEW_KEY)


def test_the_old_key_is_to_be_kept_while_gateways_do_not_know_what_was_moved(
    sealed: Api, settings: Settings, redis_away: Callable[[], AbstractContextManager[None]]
) -> None:
    settings.CREDENTIAL_KEY = f"{NEW_KEY},{settings.CREDENTIAL_KEY}"

    with redis_away(), pytest.raises(CommandError, match="keep the old key"):
        rotate()
    rotate()

    assert opened(sealed, NEW_KEY) == {"sk-provider"}


def test_a_rotation_that_died_before_it_published_is_not_done(sealed: Api, settings: Settings) -> None:
    old_key = settings.CREDENTIAL_KEY
    settings.CREDENTIAL_KEY = f"{NEW_KEY},{old_key}"
    rotation.rotate()

    with pytest.raises(CommandError, match=f"may still need another key for {sealed.organization.slug}: keep it"):
        rotate("--check")
    assert opened(sealed, old_key) == {"sk-provider"}
    assert "not needed any more" in rotate()

    assert "not needed any more" in rotate("--check")
    assert opened(sealed, NEW_KEY) == {"sk-provider"}


def test_the_old_key_is_to_be_kept_while_it_cannot_be_seen_what_is_in_force(
    sealed: Api,
    settings: Settings,
    redis_away: Callable[[], AbstractContextManager[None]],
    forget_everything: Callable[[], None],
) -> None:
    settings.CREDENTIAL_KEY = f"{NEW_KEY},{settings.CREDENTIAL_KEY}"
    rotate()

    with redis_away(), pytest.raises(CommandError, match="may still need another key"):
        rotate("--check")
    Release.objects.update(published_at=None)
    with pytest.raises(CommandError, match="may still need another key"):
        rotate("--check")
    rotate()
    forget_everything()
    with pytest.raises(CommandError, match="may still need another key"):
        rotate("--check")


def test_a_setting_that_is_no_key_is_named(settings: Settings, transactional_db: None) -> None:
    settings.CREDENTIAL_KEY = "short"

    with pytest.raises(CommandError, match="BURSAR_CREDENTIAL_KEY"):
        rotate()
