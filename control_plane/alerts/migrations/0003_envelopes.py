"""Seal what was sealed with the credential key itself anew, with a key of its own that the credential key wraps."""

import base64
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import migrations

from kong_plugins.llm.credentials import seal_credential

_BEFORE = "v1:"
_NONCE_LENGTH = 12


def seal_anew(apps: Any, schema_editor: Any) -> None:
    for provider in apps.get_model("catalog", "Provider").objects.select_related("organization"):
        _seal_anew(provider, "sealed_credential", f"{provider.organization.slug}/{provider.name}")
    for webhook in apps.get_model("alerts", "Webhook").objects.all():
        _seal_anew(webhook, "sealed_secret", f"webhook/{webhook.pk}")


def _seal_anew(row: Any, field: str, credential_id: str) -> None:
    sealed = getattr(row, field)
    if not sealed.startswith(_BEFORE):
        return
    raw = base64.b64decode(sealed.removeprefix(_BEFORE))
    key = AESGCM(base64.b64decode(settings.CREDENTIAL_KEY))
    try:
        secret = key.decrypt(raw[:_NONCE_LENGTH], raw[_NONCE_LENGTH:], credential_id.encode()).decode()
    except InvalidTag:
        # It was sealed with a key that is gone, and can only be entered anew.
        return
    new = seal_credential(secret, credential_id=credential_id, credential_key=settings.CREDENTIAL_KEY)
    setattr(row, field, new)
    row.save(update_fields=[field])


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0002_forecasts"),
        ("catalog", "0004_protocol_choices"),
        ("teams", "0001_initial"),
    ]

    operations = [migrations.RunPython(seal_anew, migrations.RunPython.noop)]
