"""Secrets as they are stored and travel: sealed with a key of their own, which a master key wraps.

AES-256-GCM twice: a fresh data key encrypts the secret, a master key of `BURSAR_CREDENTIAL_KEY` encrypts the data key.
Both are bound to the credential's id, so that two sealed credentials cannot be swapped. A sealed credential is
`v2:<id of the master key>:<wrapped data key>:<secret>`; to change the master key, only data keys are wrapped anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = "v2"
_KEY_BITS: Final = 256
_NONCE_LENGTH: Final = 12
_SEPARATORS: Final = re.compile(r"[\s,]+")


class _Envelope(NamedTuple):
    """A sealed credential, taken apart; the last two parts are encrypted, each behind its nonce."""

    master_id: str
    wrapped: bytes
    secret: bytes

    def text(self) -> str:
        parts = (base64.b64encode(part).decode() for part in (self.wrapped, self.secret))
        return ":".join((_VERSION, self.master_id, *parts))


def new_credential_key() -> str:
    """A fresh master key: 256 bits in base64, as `BURSAR_CREDENTIAL_KEY` wants it."""
    return base64.b64encode(AESGCM.generate_key(_KEY_BITS)).decode()


def credential_key_ids(credential_key: str) -> tuple[str, ...]:
    """The ids of the master keys that are in force; the first one seals, each opens what was sealed with it.

    Raises:
        ValueError: the setting has a part that is no key.
    """
    return tuple(_masters(credential_key))


def seal_credential(secret: str, *, credential_id: str, credential_key: str) -> str:
    """Encrypt a secret for storage, under the first master key.

    Raises:
        ValueError: `credential_key` holds what is no key.
    """
    data_key = AESGCM.generate_key(_KEY_BITS)
    sealed = _encrypt(data_key, secret.encode(), credential_id)
    return _wrap(data_key, sealed, credential_id, credential_key).text()


def open_credential(sealed: str, *, credential_id: str, credential_key: str) -> str:
    """Decrypt a secret.

    Raises:
        ValueError: the text was not sealed with one of these keys for this credential.
    """
    envelope = _envelope(sealed)
    return _decrypt(_data_key(envelope, credential_id, credential_key), envelope.secret, credential_id).decode()


def rewrap_credential(sealed: str, *, credential_id: str, credential_key: str) -> str:
    """The same credential under the first master key, without a look at its secret; unchanged where it is already.

    Raises:
        ValueError: the text was not sealed with one of these keys for this credential.
    """
    envelope = _envelope(sealed)
    data_key = _data_key(envelope, credential_id, credential_key)
    if envelope.master_id == credential_key_ids(credential_key)[0]:
        return sealed
    return _wrap(data_key, envelope.secret, credential_id, credential_key).text()


def sealing_key_id(sealed: str) -> str:
    """The id of the master key that a secret is sealed with.

    Raises:
        ValueError: it is none that was sealed.
    """
    return _envelope(sealed).master_id


def _wrap(data_key: bytes, secret: bytes, credential_id: str, credential_key: str) -> _Envelope:
    master_id, master = next(iter(_masters(credential_key).items()))
    return _Envelope(master_id, _encrypt(master, data_key, credential_id), secret)


def _data_key(envelope: _Envelope, credential_id: str, credential_key: str) -> bytes:
    master = _masters(credential_key).get(envelope.master_id)
    if master is None:
        raise ValueError(
            f"the credential was sealed with the key {envelope.master_id}, which BURSAR_CREDENTIAL_KEY lacks"
        )
    return _decrypt(master, envelope.wrapped, credential_id)


def _envelope(sealed: str) -> _Envelope:
    version, *parts = sealed.split(":")
    if version != _VERSION or len(parts) != len(_Envelope._fields):
        raise ValueError("a sealed credential of an unknown format")
    master_id, wrapped, secret = parts
    try:
        return _Envelope(master_id, base64.b64decode(wrapped, validate=True), base64.b64decode(secret, validate=True))
    except binascii.Error as error:
        raise ValueError("a sealed credential of an unknown format") from error


@lru_cache(maxsize=8)
def _masters(credential_key: str) -> dict[str, bytes]:
    """The master keys by their ids. An id follows from its key, so that none can be given to two."""
    texts = [text for text in _SEPARATORS.split(credential_key) if text]
    masters = [_master(text) for text in texts]
    if not masters:
        raise _not_a_key()
    return {hashlib.sha256(master).hexdigest()[:8]: master for master in masters}


def _master(text: str) -> bytes:
    try:
        master = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _not_a_key() from None
    if len(master) * 8 != _KEY_BITS:
        raise _not_a_key()
    return master


def _not_a_key() -> ValueError:
    return ValueError("BURSAR_CREDENTIAL_KEY must be 32 bytes in base64, or several such keys with commas between them")


def _encrypt(key: bytes, data: bytes, credential_id: str) -> bytes:
    nonce = os.urandom(_NONCE_LENGTH)
    return nonce + AESGCM(key).encrypt(nonce, data, credential_id.encode())


def _decrypt(key: bytes, data: bytes, credential_id: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_LENGTH], data[_NONCE_LENGTH:], credential_id.encode())
    except (InvalidTag, ValueError) as error:
        raise ValueError("the credential was sealed with another key or for another id") from error
