"""Virtual keys: how one is made, recognised and checked.

A key reads `bsr_<key id>_<secret>_<checksum>`. The id is public and names the record; the secret has 190 bits;
the checksum lets a mistyped key be refused, and a leaked one be recognised by secret scanners, without a look-up.
At rest there is only an HMAC of the whole key under a pepper that is kept outside the database.

A key can be given a new secret and keeps its id, by which its budgets, limits and spend are counted. The former secret
may go on for a while; a `generation`, which counts a key's secrets from 1, says which of the two a call has shown.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from typing import Final, Literal

import msgspec

from kong_plugins.llm.release import Tier

# The team, and the key, of observed calls of which nothing better is known.
UNATTRIBUTED: Final = "unattributed"
KEY_PREFIX: Final = "bsr_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_PATTERN: Final = re.compile(r"bsr_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})_([0-9A-Za-z]{6})")
_KEY_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
# No key has it; what there is none of is compared with it, so that a comparison takes as long.
_NO_DIGEST: Final = "0" * 64


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a gateway knows of a virtual key: live state, replaced only by a record of a higher `version`.

    `models` are the request models that the key may use; None means all that its team may. A key that
    `speaks_for_users` is trusted to name the user whose own limits and budgets count. `routes` are the names or ids of
    Kong's routes, and `networks` the blocks of addresses (CIDR), in which it may be used; None means all.

    The secret of the generation before is good until `former_until_ms`, if there is a `former_digest`. What is as by
    default is not written, so that a gateway that does not know a newer field refuses those keys only that have it.
    """

    format: Literal[1] = 1
    id: str
    version: int
    digest: str
    organization: str
    team: str
    name: str
    tier: Tier
    active: bool
    expires_at_ms: int | None = None
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    speaks_for_users: bool = False
    routes: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    generation: int = 1
    former_digest: str | None = None
    former_until_ms: int | None = None

    def has_secret(self, generation: int, *, at_ms: int) -> bool:
        """Whether the secret of that generation is good at an instant."""
        return generation == self.generation or (generation == self.generation - 1 and self._has_former(at_ms))

    def generation_of(self, digest: str, *, at_ms: int) -> int | None:
        """Which of the secrets that are good at an instant has this digest; compared in constant time."""
        is_newest = hmac.compare_digest(digest, self.digest)
        is_former = hmac.compare_digest(digest, self.former_digest or _NO_DIGEST)
        if is_newest:
            return self.generation
        return self.generation - 1 if is_former and self._has_former(at_ms) else None

    def _has_former(self, at_ms: int) -> bool:
        return self.former_digest is not None and at_ms < (self.former_until_ms or 0)


class Principal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is calling, as resolved from a key. `user` is a label that the caller chose; it only selects limits and
    budgets where the key `speaks_for_users`. `key_generation` says which of the key's secrets it has shown."""

    organization: str
    team: str
    key: str
    key_name: str
    tier: Tier
    user: str | None = None
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    speaks_for_users: bool = False
    routes: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    key_generation: int = 1


def principal_of(record: KeyRecord, *, user: str | None, generation: int) -> Principal:
    """Who calls with the secret of this generation of the record's key, for this user."""
    return Principal(
        organization=record.organization,
        team=record.team,
        key=record.id,
        key_name=record.name,
        tier=record.tier,
        user=user,
        tags=record.tags,
        models=record.models,
        speaks_for_users=record.speaks_for_users,
        routes=record.routes,
        networks=record.networks,
        key_generation=generation,
    )


def issue_key(key_id: str | None = None) -> tuple[str, str]:
    """Make a new key, or a new secret of the key with this id; return the id and the full key, to be shown once."""
    key_id = key_id or _random_text(_KEY_ID_LENGTH)
    body = f"bsr_{key_id}_{_random_text(_SECRET_LENGTH)}"
    return key_id, f"{body}_{checksum(body)}"


def key_id_of(key: str) -> str | None:
    """The id inside a key, or None where the text is not a key of ours or its checksum is wrong."""
    match = _KEY_PATTERN.fullmatch(key)
    if match is None or checksum(key[: -_CHECKSUM_LENGTH - 1]) != match.group(3):
        return None
    return match.group(1)


def key_digest(key: str, pepper: str) -> str:
    """The form in which a key is stored: HMAC-SHA256 under the pepper, in hex."""
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()


def checksum(text: str) -> str:
    """The last part of a key whose other parts read so."""
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
