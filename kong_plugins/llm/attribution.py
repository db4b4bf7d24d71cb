"""For whom a call on an observed route is counted. There, nobody is refused: who cannot be recognised is counted too.

A virtual key of the route's organization says most, whatever header it is in, and beside whatever the provider is sent.
Else the configuration may name Kong's consumer, or a header, as the team; all others are `unattributed`, which may be
the slug of a team too, with limits and budgets to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from kong_plugins.llm.authentication import Authenticator, caller_with, presented_keys
from kong_plugins.llm.errors import AuthenticationError, BursarError, InvalidApiKey, PermissionDenied
from kong_plugins.llm.keys import KEY_PREFIX, UNATTRIBUTED, KeyRecord, Principal, principal_of
from kong_plugins.llm.requests import Caller, chosen_user
from kong_plugins.llm.restrictions import NOWHERE, Origin, check_origin
from kong_plugins.llm.wishes import Headers

_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class ObservedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Whose route it is, and what names the team of a call without a virtual key: `by` Kong's consumer, or a header."""

    organization: str = ""
    by: Literal["consumer", "header"] | None = None
    header_name: str = "x-team"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ObservedRoute:
        """The route as the configuration of `llm-key-auth` describes it."""
        named = {"organization": config.get("organization"), "by": config.get("attribute_by")}
        named["header_name"] = config.get("header_name")
        return msgspec.convert({name: value for name, value in named.items() if value}, cls)


def attribute(
    authenticator: Authenticator,
    headers: Headers,
    route: ObservedRoute,
    *,
    origin: Origin = NOWHERE,
    query: str = "",
    consumer_name: str | None = None,
) -> Caller:
    """The caller of a request with these headers (lower-case names, all values of each) and this query."""
    user = chosen_user(_first(headers, "x-user-id"), param="x-user-id", selects=False)
    principal, refusal = _by_key(authenticator, presented_keys(headers, query), origin, route.organization, user)
    if principal is None:
        named = consumer_name if route.by == "consumer" else _named_in_header(headers, route)
        principal = _by_name(route.organization, (named or "").strip(), user)
    return caller_with(headers, principal, would_be_refused=refusal)


def _by_key(
    authenticator: Authenticator, keys: Iterable[str], origin: Origin, organization: str, user: str | None
) -> tuple[Principal | None, str | None]:
    """Whom the first virtual key speaks for, if anybody; and why its call would be refused if the route were
    governed."""
    key = next((key for key in keys if key.startswith(KEY_PREFIX)), None)
    if key is None:
        return None, None
    try:
        record, generation = authenticator.key_in_force(key)
    except BursarError as error:
        # Whether it is in force is not known where Redis is away.
        return None, error.code if isinstance(error, AuthenticationError) else None
    if record.organization != organization:
        return None, InvalidApiKey.code
    return principal_of(record, user=user, generation=generation), _refusal_of_origin(record, origin)


def _refusal_of_origin(record: KeyRecord, origin: Origin) -> str | None:
    try:
        check_origin(record, origin)
    except PermissionDenied as error:
        return error.code
    return None


def _named_in_header(headers: Headers, route: ObservedRoute) -> str | None:
    return _first(headers, route.header_name.lower()) if route.by == "header" else None


def _by_name(organization: str, name: str, user: str | None) -> Principal:
    """The team of this name; where no team can be called so, the name is kept as the user's."""
    is_slug = _SLUG.fullmatch(name) is not None
    return Principal(
        organization=organization,
        team=name if is_slug else UNATTRIBUTED,
        key=UNATTRIBUTED,
        key_name=UNATTRIBUTED,
        tier="normal",
        user=user or (None if is_slug else chosen_user(name, param="", selects=False)),
    )


def _first(headers: Headers, name: str) -> str | None:
    return next(iter(headers.get(name, ())), None)
