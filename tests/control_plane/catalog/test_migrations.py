"""What a new version finds: its credentials open, and its providers are of the vendor that they were of."""

from __future__ import annotations

import base64
import os
from importlib import import_module

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.apps import apps
from django.conf import settings

from control_plane.alerts.models import Webhook
from control_plane.alerts.signing import secret_of
from control_plane.catalog.models import Provider
from kong_plugins.llm.credentials import new_credential_key, open_credential
from tests.control_plane.cast import Api


def sealed_before(secret: str, credential_id: str, key: str) -> str:
    """A secret as it was sealed until there were envelopes: with the credential key itself."""
    nonce = os.urandom(12)
    sealed = AESGCM(base64.b64decode(key)).encrypt(nonce, secret.encode(), credential_id.encode())
    return "v1:" + base64.b64encode(nonce + sealed).decode()


def test_what_was_sealed_with_the_key_itself_opens_again_and_what_has_lost_its_key_stays(api: Api) -> None:
    api.provider("openai")
    api.provider("lost")
    api.create("webhooks", url="https://hooks.example.com/x", secret="a secret of a webhook")
    webhook, lost, provider = (
        Webhook.objects.get(),
        Provider.objects.get(name="lost"),
        Provider.objects.get(name="openai"),
    )
    key = settings.CREDENTIAL_KEY
    provider.sealed_credential = sealed_before("sk-old", provider.credential_id, key)
    lost.sealed_credential = before = sealed_before("sk-lost", lost.credential_id, new_credential_key())
    webhook.sealed_secret = sealed_before("an old secret of it", webhook.credential_id, key)
    for row in (provider, lost, webhook):
        row.save()

    for _ in range(2):
        import_module("control_plane.alerts.migrations.0003_envelopes").seal_anew(apps, None)

    for row in (provider, lost, webhook):
        row.refresh_from_db()
    assert open_credential(
        provider.sealed_credential, credential_id=provider.credential_id, credential_key=key
    ) == "sk-old"  # fmt: skip
    assert secret_of(webhook) == "an old secret of it"
    assert lost.sealed_credential == before


def test_providers_whose_address_says_who_they_are_are_named_so(api: Api) -> None:
    api.deployment()
    for name, address in (("anthropic", "https://api.anthropic.com/v1"), ("mixed", "https://api.openai.com/v1")):
        api.create("providers", name=name, base_url=address, credential="sk")
    messages = {"protocol": "anthropic_messages", "price": None, "provider_model": "m", "model": "gpt-4o-mini"}
    for name in ("anthropic", "mixed"):
        api.create("deployments", provider=name, **messages)

    import_module("control_plane.catalog.migrations.0007_vendors").name_known_vendors(apps, None)

    assert dict(Provider.objects.values_list("name", "vendor")) == {
        "openai": "custom",
        "anthropic": "anthropic",
        "mixed": "custom",
    }
