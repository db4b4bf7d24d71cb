"""May they: from a caller and a request's body to a grant, or to the error that says why not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from kong_plugins.llm.access_tokens import AccessTokens, TokenSource
from kong_plugins.llm.authorization import Authorizer
from kong_plugins.llm.errors import (
    InvalidRequest,
    PolicyUnavailable,
    RequestTooLarge,
    StoreUnavailable,
    UnsupportedEncoding,
)
from kong_plugins.llm.grants import CallFacts, Grant, event_fields
from kong_plugins.llm.holds import Holds
from kong_plugins.llm.keys import principal_of
from kong_plugins.llm.known_keys import KnownKeys
from kong_plugins.llm.limits import Denied, Failing, Granted, Reservation, Waiting
from kong_plugins.llm.local_limits import LocalLimits
from kong_plugins.llm.model_list import ListedModel, ModelList, models_at
from kong_plugins.llm.offers import Call, Offer, Offers, grant_of, granted_facts
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.policies import Policies
from kong_plugins.llm.protocols import read_body, wire_format
from kong_plugins.llm.refusals import refusal_of, undecided
from kong_plugins.llm.requests import Asked, Caller, ModelRequest, check_stored, chosen_user
from kong_plugins.llm.routes import RoutingTable
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.standing import Standing, standing_of
from kong_plugins.llm.store import Store
from kong_plugins.llm.waiting import Visit, WaitingRoom


class WouldWait(Exception):
    """What was only asked about would stand in a line first: that of `waiting`, for the last of its candidates."""

    def __init__(self, offer: Offer, waiting: Waiting) -> None:
        super().__init__(waiting.check.scope_name)
        self.offer = offer
        self.waiting = waiting


class Admission:
    """Decides calls against the policy in force."""

    def __init__(
        self,
        store: Store,
        settings: EdgeSettings,
        *,
        outbox: Outbox | None = None,
        tokens: AccessTokens | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._holds = Holds(store, outbox or Outbox(store, None), LocalLimits(settings.edges), now_ms=now_ms)
        self._policies = Policies(store)
        self._authorizer = Authorizer(settings.credential_key, tokens or AccessTokens())
        self._keys = KnownKeys(store, now_ms=now_ms)
        self.room = WaitingRoom(store, most_waiting=settings.max_waiting, most_bytes=settings.max_waiting_bytes)
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

    def admit(
        self,
        caller: Caller,
        data: bytes,
        protocol: str,
        *,
        asked_at: str = "",
        probe: bool = False,
        beat: Callable[[], None] = lambda: None,
    ) -> Grant:
        """Hold what the call may use that was `asked_at` a path with its query, and grant it, maybe after a wait in a
        line, in which there is a `beat` at least every second; what that raises ends the wait, and so does a key that
        is no longer what it was. A `probe` is what would be granted now, of which nothing is held.

        Raises:
            WouldWait: a probe's call would have to wait.
            InvalidRequest: the body is not a request in this wire format, or too large.
            ModelNotFound, ModelNotAllowed: the policy says so.
            RateLimitExceeded, InsufficientQuota: a limit or a budget says so.
            InvalidApiKey: the key has been revoked, or has expired, during the wait.
            PolicyUnavailable: nothing can be decided at the moment.
        """
        self._check_size(len(data))
        body = read_body(protocol, data, caller.content_type)
        path, _, query = asked_at.partition("?")
        asked = Asked(path=path, query=query, betas=caller.betas, options=caller.options)
        request = wire_format(protocol).parse_request(body, asked)
        check_stored(caller, request)
        call = Call(
            request_id=str(uuid.uuid4()),
            caller=_with_user(caller, request),
            protocol=protocol,
            body=body,
            request=request,
            probe=probe,
        )
        organization = caller.principal.organization
        with self.room.visit(
            organization, call.request_id, size_bytes=len(data), patience_ms=caller.max_wait_ms
        ) as visit:
            return self._decide(call, visit, beat)

    @contextmanager
    def giving_out(self, grant: Grant) -> Iterator[None]:
        """Give the grant to Kong within this context: where that fails, as its request is gone, the hold ends."""
        try:
            yield
        except BaseException:
            self._holds.give_back(grant.meter.facts)
            raise

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

    def models(self, caller: Caller, path: str) -> ModelList | ListedModel:
        """The models that the caller's key may use, or the one that the path names.

        Raises:
            ModelNotFound: there is no such model, or the key may not use it.
            PolicyUnavailable: that cannot be known at the moment.
        """
        return models_at(path, self._policies.current(caller.principal.organization), caller.principal)

    def token_sources(self) -> dict[TokenSource, str]:
        """Where the access tokens of all organizations' deployments come from, each with its credential's name.

        Raises:
            PolicyUnavailable: that cannot be known at the moment.
        """
        return dict(
            source
            for organization in self._policies.organizations()
            for source in self._authorizer.token_sources(self._policies.current(organization).document)
        )

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._settings.max_request_bytes:
            raise RequestTooLarge(f"The request body is larger than {self._settings.max_request_bytes} bytes.")

    def _decide(self, call: Call, visit: Visit, beat: Callable[[], None]) -> Grant:
        offers: Offers | None = None

        def attempt(table: RoutingTable) -> tuple[Offer, Granted | Denied | Waiting]:
            # To work them out anew for each attempt of a wait would be dear.
            nonlocal offers
            if offers is None or offers.table is not table:
                offers = Offers(table, call, settings=self._settings, authorizer=self._authorizer, now_ms=self._now_ms)
            return self._try(offers, visit)

        organization = call.caller.principal.organization
        offer, result = self._policies.decide(organization, attempt)
        while isinstance(result, Waiting):
            if call.probe:
                raise WouldWait(offer, result)
            if visit.place is None:
                # Read now, the key is known for a while should Redis go away.
                self._check_key(call.caller)
            visit.wait(result)
            beat()
            self._check_key(call.caller)
            offer, result = self._policies.decide(organization, attempt)
        visit.is_decided = True
        if isinstance(result, Denied):
            raise refusal_of(result, protocol=call.protocol, now_ms=self._now_ms(), queued_ms=visit.queued_ms)
        try:
            return grant_of(call, offer, result, deadline_ms=self._settings.deadline_ms)
        except BaseException:
            if not call.probe:
                self._holds.give_back(granted_facts(offer, result))
            raise

    def _check_key(self, caller: Caller) -> None:
        """Let nobody wait, or be admitted, whose key is not what it was when the call came.

        Raises:
            InvalidApiKey: it, or the secret that the call has shown, has been revoked or has expired.
            PolicyUnavailable: it has got other rights, or cannot be checked at the moment.
        """
        before = caller.principal
        record = self._keys.still_in_force(before.key, before.key_generation)
        now = principal_of(record, user=before.user, generation=before.key_generation)
        if msgspec.structs.replace(now, key_name=before.key_name) != before:
            raise PolicyUnavailable("The rights of the API key have just changed. Try again.", retry_after_ms=1000)

    def _try(self, offers: Offers, visit: Visit) -> tuple[Offer, Granted | Denied | Waiting]:
        """Try the candidates in their order, and once more those that were passed over because they are failing: the
        first one that is let pass, or else the last one."""
        passed_over: list[str] = []
        left, failing = list(range(len(offers))), list[int]()
        while True:
            number = (left or failing).pop(0)
            offer = offers[number]
            reservation, facts = _attempt(offer, visit, passed_over, others=offers.deployments(left))
            is_last = not left and not failing
            reservation = msgspec.structs.replace(reservation, is_last=is_last, may_wait=is_last and visit.may_wait)
            result = self._holds.reserve(reservation)
            if isinstance(result, Failing):
                failing.append(number)
                passed_over.append(f"{offer.deployment.id}: failing")
            elif is_last or not isinstance(result, Denied):
                return msgspec.structs.replace(offer, facts=facts), result
            else:
                passed_over.append(f"{offer.deployment.id}: {result.check.scope_name}")


def _attempt(
    offer: Offer, visit: Visit, passed_over: Sequence[str], *, others: Sequence[str]
) -> tuple[Reservation, CallFacts]:
    """The reservation with which this offer is tried after others, and what is known of the call by then."""
    own = offer.deployment.id
    facts = msgspec.structs.replace(offer.facts, candidates=(*passed_over, own), queued_ms=visit.queued_ms)
    reservation = msgspec.structs.replace(
        offer.reservation,
        draft=event_fields(facts),
        place=visit.place,
        waited_ms=visit.queued_ms or 0,
        patience_ms=visit.patience_ms,
        others=tuple(other for other in others if other != own),
    )
    return reservation, facts


def _with_user(caller: Caller, request: ModelRequest) -> Caller:
    """The caller with the user that the request's body names, if its headers name none."""
    principal = caller.principal
    user = chosen_user(request.user, param="user", selects=principal.speaks_for_users)
    if user is None or user == principal.user:
        return caller
    if principal.user is not None:
        raise InvalidRequest("The header x-user-id names another user than the body.", param="user")
    return msgspec.structs.replace(caller, principal=msgspec.structs.replace(principal, user=user))
