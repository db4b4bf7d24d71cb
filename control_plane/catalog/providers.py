"""Changing providers. `actor` is the user name of who does it; every change makes a new release."""

from __future__ import annotations

from typing import TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from control_plane.catalog.credentials import checked_credential
from control_plane.catalog.models import Provider
from control_plane.live import announce_change
from control_plane.rows import change_row, create_row
from kong_plugins.llm.credentials import seal_credential
from kong_plugins.llm.vendors import CUSTOM, VENDORS


class ProviderChanges(TypedDict, total=False):
    vendor: str
    base_url: str
    authentication: str


@transaction.atomic
def create_provider(
    *, organization_id: int, name: str, actor: str, credential: str = "", **fields: Unpack[ProviderChanges]
) -> Provider:
    """Make a provider; its credential is kept only sealed, and of the vendor's usual kind where no other is named.

    Raises:
        ValidationError: by field.
    """
    usual = VENDORS.get(fields.get("vendor", CUSTOM), VENDORS[CUSTOM]).credentials[0]
    provider = Provider(organization_id=organization_id, name=name, **({"authentication": usual} | fields))
    provider.full_clean(exclude=["sealed_credential"])
    provider.sealed_credential = _sealed(provider, credential)
    create_row(provider)
    announce_change(organization_id, actor=actor)
    return provider


@transaction.atomic
def change_provider(
    provider_id: int, *, actor: str, credential: str | None = None, **changes: Unpack[ProviderChanges]
) -> Provider:
    """Change a provider, or its credential; None leaves that as it is.

    Raises:
        ValidationError: by field.
    """
    provider, changed = change_row(Provider.objects.all(), provider_id, changes)
    if credential is None and "authentication" in changed:
        credential = _credential_of_new_kind(provider)
    if credential is not None:
        provider.sealed_credential = _sealed(provider, credential)
        provider.save(update_fields=["sealed_credential"])
    if changed or credential is not None:
        announce_change(provider.organization_id, actor=actor)
    return provider


def _credential_of_new_kind(provider: Provider) -> str:
    if provider.authentication != "none":
        raise ValidationError({"credential": "Give the credential, too, since it is of another kind now."})
    return ""


def _sealed(provider: Provider, credential: str) -> str:
    secret = checked_credential(provider.authentication, credential)
    return seal_credential(secret, credential_id=provider.credential_id, credential_key=settings.CREDENTIAL_KEY)
