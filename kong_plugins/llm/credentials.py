"""Provider credentials: sealed at rest and on the way to the gateway, opened only in the plugin process.

AES-256-GCM; the credential's id is authenticated with it, so that two sealed credentials cannot be swapped.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX: Final = "v1:"
_NONCE_LENGTH: Final = 12


def new_credential_key() -> str:
    """A fresh 256-bit key in base64, as `BURSAR_CREDENTIAL_KEY` wants it."""
    return base64.b64encode(AESGCM.generate_key(256)).decode()


def seal_credential(secret: str, *, credential_id: str, credential_key: str) -> str:
    """Encrypt a provider's credential for storage."""
    nonce = os.urandom(_NONCE_LENGTH)
    sealed = _cipher(credential_key).encrypt(nonce, secret.encode(), credential_id.encode())
    return _PREFIX + base64.b64encode(nonce + sealed).decode()


def open_credential(sealed: str, *, credential_id: str, credential_key: str) -> str:
    """Decrypt a provider's credential.

    Raises:
        ValueError: the text was not sealed with this key for this credential.
    """
    if not sealed.startswith(_PREFIX):
        raise ValueError("a sealed credential of an unknown format")
    try:
        raw = base64.b64decode(sealed[len(_PREFIX) :], validate=True)
        nonce, secret = raw[:_NONCE_LENGTH], raw[_NONCE_LENGTH:]
        return _cipher(credential_key).decrypt(nonce, secret, credential_id.encode()).decode()
    except (binascii.Error, InvalidTag) as error:
        raise ValueError("the credential was sealed with another key or for another id") from error


def _cipher(credential_key: str) -> AESGCM:
    try:
        return AESGCM(base64.b64decode(credential_key, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("BURSAR_CREDENTIAL_KEY must be 32 bytes in base64") from error
