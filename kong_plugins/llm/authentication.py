"""Who is calling: from the request's headers to a principal.

Every failure costs the same work and gives the same answer, so that nobody learns which keys exist.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from kong_plugins.llm.errors import InvalidApiKey, InvalidRequest, TeamMismatch
from kong_plugins.llm.keys import KeyRecord, Principal, key_digest, key_id_of, principal_of
from kong_plugins.llm.known_keys import KeyInForce, KnownKeys, invalid_key
from kong_plugins.llm.requests import OPTION_PREFIX, Caller, chosen_user
from kong_plugins.llm.restrictions import NOWHERE, Origin, check_origin
from kong_plugins.llm.store import Store
from kong_plugins.llm.wishes import Headers, is_dry_run, max_wait_ms, may_degrade, takes_partial

# Where OpenAI's, Anthropic's, AWS's, Azure's and Google's SDKs put their key.
KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
# Where Google's own examples put it; the guard keeps it out of what goes to the provider and into Kong's records.
KEY_ARGUMENT: Final = "key"
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)
# AWS's Signature Version 4, as SDKs write it that know no bearer, or send none without TLS: the key stands for the
# access key id. Of the secret, with which they sign, there is none; like a bearer, the key itself is what counts.
_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/[^,\s]+, *SignedHeaders=.+")
# W3C Trace Context, section 3.2: version, trace id, parent id, flags.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


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
        self._key_pepper = key_pepper
        self._keys = KnownKeys(store, now_ms=now_ms, elapsed_ms=elapsed_ms)

    def authenticate(self, headers: Headers, query: str = "", *, origin: Origin = NOWHERE) -> Caller:
        """The caller of a request with these headers (lower-case names, all values of each), and with this query where
        its wire format lets a key stand there.

        Raises:
            InvalidApiKey: there is no key, or not exactly one, or it is unknown, inactive or expired.
            NetworkNotAllowed, RouteNotAllowed: the key may not be used from there, or on this route.
            TeamMismatch: `x-team` names another team than the key's.
            InvalidRequest: a header of Bursar's own is unclear, or `x-user-id` where the key speaks for users.
            PolicyUnavailable: the store does not answer, and the key was not read shortly before.
        """
        record, generation = self.key_in_force(_presented_key(headers, query))
        check_origin(record, origin)
        _check_team(headers, record)
        return caller_with(
            headers,
            principal_of(record, user=_user(headers, record), generation=generation),
            dry_run=is_dry_run(headers),
            may_degrade=may_degrade(headers),
            takes_partial=takes_partial(headers),
            max_wait_ms=max_wait_ms(headers),
        )

    def key_in_force(self, key: str) -> KeyInForce:
        """The record of a key that is in force. What cannot be a key is refused without a look at the store.

        Raises:
            InvalidApiKey: there is no such key, or it is not in force.
            PolicyUnavailable: the store does not answer, and the key was not read shortly before.
        """
        key_id = key_id_of(key)
        if key_id is None:
            raise invalid_key()
        return self._keys.with_secret(key_id, key_digest(key, self._key_pepper))


def caller_with(headers: Headers, principal: Principal, **more: Any) -> Caller:
    """The principal as the caller of a request with these headers, with what else its later steps need to know."""
    return Caller(
        principal=principal,
        content_length=_content_length(headers),
        content_encoding=_printable(headers, "content-encoding"),
        content_type=_printable(headers, "content-type"),
        trace_id=_trace_id(headers),
        betas=_betas(headers),
        options=_options(headers),
        **more,
    )


def presented_keys(headers: Headers, query: str) -> list[str]:
    """Every key that the request presents."""
    return [*(_key_in(name, value) for name in KEY_HEADERS for value in headers.get(name, ())), *_asked_keys(query)]


def _presented_key(headers: Headers, query: str) -> str:
    """The one key that the request presents, maybe in several headers."""
    keys = set(presented_keys(headers, query))
    if any(len(headers.get(name, ())) > 1 for name in KEY_HEADERS) or len(_asked_keys(query)) > 1 or len(keys) > 1:
        raise InvalidApiKey("Send your API key once, in one header.")
    if not keys:
        raise InvalidApiKey("Send your API key in the header 'Authorization: Bearer <key>'.")
    return keys.pop()


def _asked_keys(query: str) -> list[str]:
    return [value for name, value in parse_qsl(query, keep_blank_values=True) if name == KEY_ARGUMENT]


def _key_in(name: str, value: str) -> str:
    if name != "authorization":
        return value.strip()
    match = _BEARER.fullmatch(value.strip()) or _SIGNED.fullmatch(value.strip())
    return match.group(1) if match else ""


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
    """What of Anthropic's trials the request wants to take part in, also as OpenRouter calls the header."""
    values = (value for header in ("anthropic-beta", "x-anthropic-beta") for value in headers.get(header, ()))
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(name if name.isprintable() else "unreadable" for name in names if name)


def _options(headers: Headers) -> dict[str, str]:
    """What the request chooses in headers; what cannot be printed under a value that nobody accepts."""
    chosen = {name: ", ".join(values) for name, values in headers.items() if name.startswith(OPTION_PREFIX)}
    return {name: value if value.isprintable() else "unreadable" for name, value in chosen.items()}


def _printable(headers: Headers, name: str) -> str:
    """All that the header says; what could not be printed under a name that nobody accepts."""
    text = ", ".join(headers.get(name, ()))
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
