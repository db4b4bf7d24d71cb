"""Who is calling: from the request's headers to a principal.

Every failure costs the same work and gives the same answer, so that nobody learns which keys exist.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kong_plugins.llm.errors import InvalidApiKey, InvalidRequest, PolicyUnavailable, StoreUnavailable, TeamMismatch
from kong_plugins.llm.keys import KeyRecord, Principal, key_id_of, key_matches
from kong_plugins.llm.requests import Caller, chosen_user
from kong_plugins.llm.store import Store

Headers = Mapping[str, Sequence[str]]

# Where OpenAI's, Anthropic's, Azure's and Google's SDKs put their key.
KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
DRY_RUN_HEADER: Final = "x-bursar-dry-run"
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)
# W3C Trace Context, section 3.2: version, trace id, parent id, flags.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_RETRY_AFTER_MS: Final = 1000
_NO_RECORD: Final = KeyRecord(
    id="", version=0, digest="0" * 64, organization="", team="", name="", tier="normal", active=False
)


class Authenticator:
    """Resolves virtual keys against the live state; `now_ms` is the clock that keys expire by."""

    def __init__(
        self, store: Store, *, key_pepper: str, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._store = store
        self._key_pepper = key_pepper
        self._now_ms = now_ms

    def authenticate(self, headers: Headers) -> Caller:
        """The caller of a request with these headers (lower-case names, all values of each).

        Raises:
            InvalidApiKey: there is no key, or not exactly one, or it is unknown, inactive or expired.
            TeamMismatch: `x-team` names another team than the key's.
            InvalidRequest: `x-bursar-dry-run` is unclear, or `x-user-id` where the key speaks for users.
            PolicyUnavailable: the store does not answer.
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
            dry_run=_is_dry_run(headers),
        )

    def _record_of(self, key: str) -> KeyRecord:
        key_id = key_id_of(key)
        if key_id is None:
            raise _invalid_key()
        try:
            record = self._store.get_key(key_id) or _NO_RECORD
        except StoreUnavailable as error:
            raise PolicyUnavailable(
                "Keys cannot be checked at the moment. Try again.", retry_after_ms=_RETRY_AFTER_MS
            ) from error
        matches = key_matches(key, record, self._key_pepper)
        expired = record.expires_at_ms is not None and record.expires_at_ms <= self._now_ms()
        if not matches or not record.active or expired:
            raise _invalid_key()
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


def _check_team(headers: Headers, record: KeyRecord) -> None:
    if any(team != record.team for team in headers.get("x-team", ())):
        raise TeamMismatch("The header x-team names another team than the key's.", param="x-team")


def _user(headers: Headers, record: KeyRecord) -> str | None:
    """The label that the caller gives its own user."""
    labels = headers.get("x-user-id", ())
    if len(labels) > 1 and record.speaks_for_users:
        raise InvalidRequest("Name the user once.", param="x-user-id")
    return chosen_user(_single(headers, "x-user-id"), param="x-user-id", selects=record.speaks_for_users)


def _is_dry_run(headers: Headers) -> bool:
    """Whether the caller only asks. What is unclear is refused, because the other reading would spend."""
    values = list(headers.get(DRY_RUN_HEADER, ()))
    if values not in ([], ["0"], ["1"]):
        raise InvalidRequest(f"{DRY_RUN_HEADER} must be 1 or 0, once.", param=DRY_RUN_HEADER)
    return values == ["1"]


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
