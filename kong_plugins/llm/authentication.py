"""Who is calling: from the request's headers to a principal.

Every failure costs the same work and gives the same answer, so that nobody learns which keys exist.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from kong_plugins.llm.errors import (
    BursarError,
    InvalidApiKey,
    InvalidRequest,
    PolicyUnavailable,
    StoreUnavailable,
    TeamMismatch,
)
from kong_plugins.llm.keys import KeyRecord, Principal, key_id_of, key_matches
from kong_plugins.llm.requests import Caller, chosen_user
from kong_plugins.llm.store import Store
from kong_plugins.llm.wishes import Headers, is_dry_run, max_wait_ms, may_degrade

# Where OpenAI's, Anthropic's, Azure's and Google's SDKs put their key.
KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)
# W3C Trace Context, section 3.2: version, trace id, parent id, flags.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_RETRY_AFTER_MS: Final = 1000
# While the store is away, a key is taken for what it was when it was last read, at most so long ago.
REMEMBERED_MS: Final = 60_000
MOST_REMEMBERED: Final = 10_000
_NO_RECORD: Final = KeyRecord(
    id="", version=0, digest="0" * 64, organization="", team="", name="", tier="normal", active=False
)


class KeyMemory:
    """The records that the store has last given, for when it is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: OrderedDict[str, tuple[KeyRecord, int]] = OrderedDict()

    def keep(self, key_id: str, record: KeyRecord | None, at_ms: int) -> None:
        """Remember what was read, None where there is no such key. An older version that comes late is not believed."""
        with self._lock:
            known, _ = self._records.pop(key_id, (None, 0))
            if record is None:
                return
            if known is None or known.version <= record.version:
                known = record
            self._records[key_id] = known, at_ms
            if len(self._records) > MOST_REMEMBERED:
                self._records.popitem(last=False)

    def recall(self, key_id: str, at_ms: int) -> KeyRecord | None:
        """The record, if it was read a short while ago."""
        record, read_at_ms = self._records.get(key_id, (None, 0))
        return record if at_ms - read_at_ms <= REMEMBERED_MS else None


class Authenticator:
    """Resolves virtual keys against the live state; `now_ms` is the clock that keys expire by, `elapsed_ms` one that
    nobody can set."""

    def __init__(
        self,
        store: Store,
        *,
        key_pepper: str,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        elapsed_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._key_pepper = key_pepper
        self._now_ms = now_ms
        self._elapsed_ms = elapsed_ms
        self._memory = KeyMemory()

    def authenticate(self, headers: Headers) -> Caller:
        """The caller of a request with these headers (lower-case names, all values of each).

        Raises:
            InvalidApiKey: there is no key, or not exactly one, or it is unknown, inactive or expired.
            TeamMismatch: `x-team` names another team than the key's.
            InvalidRequest: a header of Bursar's own is unclear, or `x-user-id` where the key speaks for users.
            PolicyUnavailable: the store does not answer, and the key was not read shortly before.
        """
        record = self._record_of(_presented_key(headers))
        _check_team(headers, record)
        return Caller(
            principal=Principal(
                organization=record.organization,
                team=record.team,
                key=record.id,
                key_name=record.name,
                tier=record.tier,
                user=_user(headers, record),
                tags=record.tags,
                models=record.models,
                speaks_for_users=record.speaks_for_users,
            ),
            content_length=_content_length(headers),
            content_encoding=_content_encoding(headers),
            trace_id=_trace_id(headers),
            betas=_betas(headers),
            dry_run=is_dry_run(headers),
            may_degrade=may_degrade(headers),
            max_wait_ms=max_wait_ms(headers),
        )

    def _record_of(self, key: str) -> KeyRecord:
        key_id = key_id_of(key)
        if key_id is None:
            raise _invalid_key()
        at_ms = self._elapsed_ms()
        try:
            record = self._store.get_key(key_id)
        except StoreUnavailable as error:
            # Not "invalid" where it is not good: Redis may know it, or know better.
            return self._good(key, self._memory.recall(key_id, at_ms), _unknown_key(error))
        self._memory.keep(key_id, record, at_ms)
        return self._good(key, record, _invalid_key())

    def _good(self, key: str, record: KeyRecord | None, refusal: BursarError) -> KeyRecord:
        """The record, if it is this key's and in force; else the refusal is raised."""
        record = record or _NO_RECORD
        matches = key_matches(key, record, self._key_pepper)
        expired = record.expires_at_ms is not None and record.expires_at_ms <= self._now_ms()
        if not matches or not record.active or expired:
            raise refusal
        return record


def _presented_key(headers: Headers) -> str:
    """The one key that the request presents, maybe in several headers."""
    keys = {_key_in(name, value) for name in KEY_HEADERS for value in headers.get(name, ())}
    if any(len(headers.get(name, ())) > 1 for name in KEY_HEADERS) or len(keys) > 1:
        raise InvalidApiKey("Send your API key once, in one header.")
    if not keys:
        raise InvalidApiKey("Send your API key in the header 'Authorization: Bearer <key>'.")
    return keys.pop()


def _key_in(name: str, value: str) -> str:
    if name != "authorization":
        return value.strip()
    match = _BEARER.fullmatch(value.strip())
    return match.group(1) if match else ""


def _invalid_key() -> InvalidApiKey:
    return InvalidApiKey("The API key is not valid. Ask the owner of your team for a key that is in force.")


def _unknown_key(cause: StoreUnavailable) -> PolicyUnavailable:
    error = PolicyUnavailable("Keys cannot be checked at the moment. Try again.", retry_after_ms=_RETRY_AFTER_MS)
    error.__cause__ = cause
    return error


def _check_team(headers: Headers, record: KeyRecord) -> None:
    if any(team != record.team for team in headers.get("x-team", ())):
        raise TeamMismatch("The header x-team names another team than the key's.", param="x-team")


def _user(headers: Headers, record: KeyRecord) -> str | None:
    """The label that the caller gives its own user."""
    labels = headers.get("x-user-id", ())
    if len(labels) > 1 and record.speaks_for_users:
        raise InvalidRequest("Name the user once.", param="x-user-id")
    return chosen_user(_single(headers, "x-user-id"), param="x-user-id", selects=record.speaks_for_users)


def _betas(headers: Headers) -> tuple[str, ...]:
    """What of Anthropic's trials the request wants to take part in."""
    names = (name.strip() for value in headers.get("anthropic-beta", ()) for name in value.split(","))
    return tuple(name if name.isprintable() else "unreadable" for name in names if name)


def _content_encoding(headers: Headers) -> str:
    """The encodings as named; those whose names could not be printed under a name that nobody accepts."""
    text = ", ".join(headers.get("content-encoding", ()))
    return text if text.isprintable() else "unreadable"


def _content_length(headers: Headers) -> int | None:
    text = _single(headers, "content-length") or ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _trace_id(headers: Headers) -> str | None:
    match = _TRACEPARENT.fullmatch(_single(headers, "traceparent") or "")
    return match.group(1) if match else None


def _single(headers: Headers, name: str) -> str | None:
    """The header's value; None where it is absent or comes more than once."""
    values = headers.get(name, ())
    return values[0] if len(values) == 1 else None
