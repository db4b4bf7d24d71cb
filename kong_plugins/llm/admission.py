"""May they: from a caller and a request's body to a grant, or to the error that says why not."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest, RequestTooLarge, StoreUnavailable, UnsupportedEncoding
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.holds import Holds
from kong_plugins.llm.limits import Denied
from kong_plugins.llm.offers import Call, grant_of, offer_of, reservation_of
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.policies import Policies
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.refusals import refusal_of, undecided
from kong_plugins.llm.requests import Caller, ModelRequest, chosen_user
from kong_plugins.llm.routes import RoutingTable
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.standing import Standing, standing_of
from kong_plugins.llm.store import Store


class Admission:
    """Decides calls against the policy in force."""

    def __init__(
        self,
        store: Store,
        settings: EdgeSettings,
        *,
        outbox: Outbox | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._holds = Holds(store, outbox or Outbox(store, None))
        self._policies = Policies(store)
        self._settings = settings
        self._now_ms = now_ms

    def check_headers(self, caller: Caller) -> None:
        """Refuse a body by what its headers say, before it is read.

        Raises:
            RequestTooLarge: it is larger than this node takes.
            UnsupportedEncoding: it is compressed.
        """
        if caller.content_encoding.lower() not in ("", "identity"):
            raise UnsupportedEncoding("Send the request body without Content-Encoding.")
        self._check_size(caller.content_length or 0)

    def admit(self, caller: Caller, data: bytes, protocol: str, *, probe: bool = False) -> Grant:
        """Hold what the call may use, and grant it; a `probe` is what would be granted now, of which nothing is held.

        Raises:
            InvalidRequest: the body is not a request in this wire format, or too large.
            ModelNotFound, ModelNotAllowed: the policy says so.
            RateLimitExceeded, InsufficientQuota: a limit or a budget says so.
            PolicyUnavailable: nothing can be decided at the moment.
        """
        self._check_size(len(data))
        body = parse_body(data)
        request = wire_format(protocol).parse_request(body)
        call = Call(caller=_with_user(caller, request), protocol=protocol, body=body, request=request, probe=probe)
        return self._policies.decide(caller.principal.organization, lambda table: self._decide(table, call))

    def standing(self, caller: Caller) -> Standing:
        """The limits and budgets of the caller's key, and what remains of them.

        Raises:
            PolicyUnavailable: that cannot be known at the moment.
        """
        principal = caller.principal
        try:
            return self._policies.decide(
                principal.organization,
                lambda table: standing_of(self._store, table, principal, now_ms=self._now_ms()),
            )
        except StoreUnavailable as error:
            raise undecided() from error

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._settings.max_request_bytes:
            raise RequestTooLarge(f"The request body is larger than {self._settings.max_request_bytes} bytes.")

    def _decide(self, table: RoutingTable, call: Call) -> Grant:
        candidates = table.candidates(call.caller.principal, call.request.model, call.protocol)
        offer = offer_of(table, call, candidates[0], credential_key=self._settings.credential_key)
        reservation = reservation_of(table, call, offer, lease_ms=self._settings.lease_ms, now_ms=self._now_ms())
        result = self._holds.reserve(reservation)
        if isinstance(result, Denied):
            raise refusal_of(result, now_ms=self._now_ms())
        return grant_of(call, offer, result, deadline_ms=self._settings.deadline_ms)


def _with_user(caller: Caller, request: ModelRequest) -> Caller:
    """The caller with the user that the request's body names, if its headers name none."""
    principal = caller.principal
    user = chosen_user(request.user, param="user", selects=principal.speaks_for_users)
    if user is None or user == principal.user:
        return caller
    if principal.user is not None:
        raise InvalidRequest("The header x-user-id names another user than the body.", param="user")
    return msgspec.structs.replace(caller, principal=msgspec.structs.replace(principal, user=user))
