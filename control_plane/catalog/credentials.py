"""What a provider's credential must be, by its kind, before it is sealed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec
from django.core.exceptions import ValidationError

from control_plane.catalog.validators import validate_token_endpoint
from kong_plugins.llm.aws_signature import AwsKeys
from kong_plugins.llm.oauth import EntraClient, ServiceAccount, private_key_of

_Fields = TypeVar("_Fields", AwsKeys, ServiceAccount, EntraClient)

_EXAMPLES: Final = {
    AwsKeys: '{"access_key_id": "…", "secret_access_key": "…"}, with a "session_token" where it is a temporary one',
    ServiceAccount: "the key file that Google gives out for a service account",
    EntraClient: '{"tenant_id": "…", "client_id": "…", "client_secret": "…"}',
}
# https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html
_ACCESS_KEY_ID: Final = re.compile(r"\w{16,128}", re.ASCII)
_TENANT_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


def checked_credential(kind: str, text: str) -> str:
    """The credential as it is sealed: a text of visible characters, or JSON of the fields that its kind needs.

    Raises:
        ValidationError: for `credential`; it never repeats what was given.
    """
    try:
        return _CHECKS[kind](text)
    except ValueError as error:
        raise ValidationError({"credential": str(error)}) from error
    except ValidationError as error:
        raise ValidationError({"credential": error.messages}) from error


def _checked_key(text: str) -> str:
    if not _is_plain(text):
        raise ValueError("A credential is printable ASCII without blanks.")
    return text


def _checked_none(text: str) -> str:
    if text:
        raise ValueError("A provider that takes no credential has none.")
    return text


def _checked_aws(text: str) -> str:
    keys = _fields(text, AwsKeys)
    if not _ACCESS_KEY_ID.fullmatch(keys.access_key_id):
        raise ValueError("access_key_id has 16 to 128 letters and digits.")
    for name in ("secret_access_key", "session_token"):
        value = getattr(keys, name)
        if value is not None and not _is_plain(value):
            raise ValueError(f"{name} is printable ASCII without blanks.")
    return _json(keys)


def _checked_service_account(text: str) -> str:
    account = _fields(text, ServiceAccount)
    private_key_of(account)
    validate_token_endpoint(account.endpoint)
    return _json(account)


def _checked_entra(text: str) -> str:
    client = _fields(text, EntraClient)
    if not _TENANT_ID.fullmatch(client.tenant_id):
        raise ValueError("tenant_id is the id or the domain of a tenant.")
    for name in ("client_id", "client_secret", "scope"):
        if not _is_plain(getattr(client, name)):
            raise ValueError(f"{name} is printable ASCII without blanks.")
    validate_token_endpoint(client.endpoint)
    return _json(client)


_CHECKS: Final[Mapping[str, Callable[[str], str]]] = {
    "api_key": _checked_key,
    "none": _checked_none,
    "aws_sigv4": _checked_aws,
    "google_service_account": _checked_service_account,
    "entra_client": _checked_entra,
}


def _fields(text: str, kind: type[_Fields]) -> _Fields:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"The credential is JSON, {_EXAMPLES[kind]}: {error}.") from None


def _json(fields: AwsKeys | ServiceAccount | EntraClient) -> str:
    return msgspec.json.encode(fields).decode()


def _is_plain(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
