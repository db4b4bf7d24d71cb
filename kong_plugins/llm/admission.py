"""May they: from a caller and a request's body to a grant, or to the error that says why not."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Never, TypeVar

import msgspec

from kong_plugins.llm.body import Body, parse_body, splices
from kong_plugins.llm.credentials import open_credential
from kong_plugins.llm.errors import (
    InsufficientQuota,
    InvalidRequest,
    ModelNotAllowed,
    ModelNotFound,
    PolicyUnavailable,
    RateLimitExceeded,
    RequestTooLarge,
    StoreUnavailable,
    UnsupportedEncoding,
)
from kong_plugins.llm.grants import (
    CallFacts,
    Grant,
    Meter,
    Terms,
    Upstream,
    event_fields,
    response_headers,
    upstream_of,
)
from kong_plugins.llm.journal import JournalUnavailable
from kong_plugins.llm.limits import BudgetCheck, Demand, Denied, Granted, Reservation, Unready, checks_for, needs_price
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.rate_headers import rate_headers
from kong_plugins.llm.release import Deployment
from kong_plugins.llm.requests import Caller, ModelRequest, chosen_user
from kong_plugins.llm.routes import Candidate, PolicyBehind, RoutingTable
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.standing import Standing, standing_of
from kong_plugins.llm.store import Store
from kong_plugins.llm.tokens import input_bound_tokens
from kong_plugins.llm.windows import END_OF_TIME_MS

logger = logging.getLogger(__name__)

_RETRY_AFTER_MS: Final = 1000
_POLICY_ATTEMPTS: Final = 3
_Decision = TypeVar("_Decision")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call to be decided on; of a `probe` it is only asked what the decision would be, and nothing is held."""

    caller: Caller
    protocol: str
    body: Body
    request: ModelRequest
    probe: bool = False


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate can do for a call: all that a grant needs, worked out before anything is held."""

    deployment: Deployment
    upstream: Upstream
    credential: str
    terms: Terms
    facts: CallFacts


class Admission:
    """Decides calls against the policy in force. Policies are kept until the store says that a newer one counts."""

    def __init__(
        self,
        store: Store,
        settings: EdgeSettings,
        *,
        outbox: Outbox | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._outbox = outbox or Outbox(store, None)
        self._settings = settings
        self._now_ms = now_ms
        self._tables: dict[str, RoutingTable] = {}

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
        return self._by_policy(caller.principal.organization, lambda table: self._decide(table, call))

    def standing(self, caller: Caller) -> Standing:
        """The limits and budgets of the caller's key, and what remains of them.

        Raises:
            PolicyUnavailable: that cannot be known at the moment.
        """
        principal = caller.principal
        try:
            return self._by_policy(
                principal.organization,
                lambda table: standing_of(self._store, table, principal, now_ms=self._now_ms()),
            )
        except StoreUnavailable as error:
            raise _undecided() from error

    def _by_policy(self, organization: str, decide: Callable[[RoutingTable], _Decision]) -> _Decision:
        """Decide by the policy at hand; by a newer one where that is behind, or did not know what was asked for."""
        known = self._tables.get(organization)
        if known is not None:
            with suppress(ModelNotFound, ModelNotAllowed, PolicyBehind):
                return decide(known)
        for _ in range(_POLICY_ATTEMPTS - 1):
            with suppress(PolicyBehind):
                return decide(self._fetch(organization))
        return decide(self._fetch(organization))

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._settings.max_request_bytes:
            raise RequestTooLarge(f"The request body is larger than {self._settings.max_request_bytes} bytes.")

    def _fetch(self, organization: str) -> RoutingTable:
        known = self._tables.get(organization)
        try:
            # Reading and checking a whole policy is dear, so that a caller's mistake must not cost it each time.
            if known is not None and self._store.policy_number(organization) == known.document.number:
                return known
            document = self._store.get_policy(organization)
        except StoreUnavailable as error:
            raise _undecided() from error
        if document is None:
            raise _undecided()
        self._tables[organization] = RoutingTable(document)
        return self._tables[organization]

    def _decide(self, table: RoutingTable, call: Call) -> Grant:
        candidates = table.candidates(call.caller.principal, call.request.model, call.protocol)
        offer = self._offer(table, call, candidates[0])
        return self._grant(call, offer, self._reserve(self._reservation(table, call, offer)))

    def _offer(self, table: RoutingTable, call: Call, candidate: Candidate) -> Offer:
        deployment = candidate.deployment
        terms = _terms(candidate, call.request)
        return Offer(
            deployment=deployment,
            upstream=upstream_of(deployment.base_url),
            credential=open_credential(
                table.document.credentials[deployment.credential],
                credential_id=deployment.credential,
                credential_key=self._settings.credential_key,
            ),
            terms=terms,
            facts=_facts(call, candidate, terms, release=table.document.number),
        )

    def _reservation(self, table: RoutingTable, call: Call, offer: Offer) -> Reservation:
        principal = call.caller.principal
        model = offer.facts.request_model
        terms = offer.terms
        demand = Demand(
            request_model=model,
            provider=offer.deployment.provider,
            tokens=terms.tokens,
            cost_nusd=terms.cost_nusd,
            floor_nusd=terms.floor_nusd,
        )
        if terms.price is None and needs_price(table.document, principal, demand):
            raise ModelNotAllowed(f"The model {model!r} has no price, and your budget needs one.", param="model")
        limits, budgets = checks_for(table.document, principal, demand, now_ms=self._now_ms())
        return Reservation(
            organization=principal.organization,
            request_id=offer.facts.request_id,
            policy_number=table.document.number,
            lease_ms=self._settings.lease_ms,
            hold_nusd=offer.terms.cost_nusd,
            hold_tokens=offer.terms.tokens,
            limits=limits,
            budgets=budgets,
            draft=event_fields(offer.facts),
            probe=call.probe,
        )

    def _reserve(self, reservation: Reservation) -> Granted:
        try:
            result = self._store.reserve(reservation)
        except StoreUnavailable as error:
            if not reservation.probe:
                self._give_up(reservation)
            raise _undecided() from error
        if isinstance(result, Denied):
            _refuse(result, now_ms=self._now_ms())
        if isinstance(result, Unready):
            raise _undecided(PolicyBehind if result.reason == "stale_policy" else PolicyUnavailable)
        if not reservation.probe:
            self._write_down(reservation, result)
        return result

    def _write_down(self, reservation: Reservation, granted: Granted) -> None:
        """Have the grant in the journal before it is given out. What cannot be written must not be spent, unless no
        budget would refuse it anyway."""
        try:
            self._outbox.hold(reservation, granted)
        except JournalUnavailable as error:
            if any(budget.refuses for budget in reservation.budgets):
                self._outbox.void(reservation.organization, reservation.request_id, _given_up(reservation))
                raise _undecided() from error
            logger.error("a grant is not in the journal: %s", error)

    def _give_up(self, reservation: Reservation) -> None:
        """The answer was lost, so the call may be held. A void frees it, or keeps the id from being held later."""
        self._outbox.void(reservation.organization, reservation.request_id, _given_up(reservation), later=True)

    def _grant(self, call: Call, offer: Offer, granted: Granted) -> Grant:
        terms = offer.terms.within(granted.granted_nusd)
        form = wire_format(call.protocol)
        changes = form.upstream_changes(
            call.body,
            call.request,
            provider_model=offer.deployment.provider_model,
            granted_max_tokens=terms.max_tokens,
        )
        return Grant(
            upstream=offer.upstream,
            path=form.upstream_path(offer.upstream.path),
            credential=offer.credential,
            body=call.body.data,
            splices=splices(call.body, changes),
            strip_usage_chunk=call.request.stream and not call.request.wants_usage,
            deadline_ms=self._settings.deadline_ms,
            response_headers=response_headers(offer.facts, offer.deployment, terms, granted.limits),
            meter=Meter(
                facts=offer.facts,
                terms=terms,
                hold_nusd=granted.granted_nusd,
                reserved_at_ms=granted.reserved_at_ms,
                provider_model=offer.deployment.provider_model,
                stream=call.request.stream,
            ),
        )


def _terms(candidate: Candidate, request: ModelRequest) -> Terms:
    model = candidate.model
    return Terms(
        input_bound_tokens=input_bound_tokens(
            request.prompt,
            provider_model=candidate.deployment.provider_model,
            context_window_tokens=model.context_window_tokens,
        ),
        max_tokens=min(request.requested_max_tokens or model.default_output_tokens, model.max_output_tokens),
        choices=request.choices,
        price=candidate.deployment.price,
    )


def _facts(call: Call, candidate: Candidate, terms: Terms, *, release: int) -> CallFacts:
    principal = call.caller.principal
    deployment = candidate.deployment
    return CallFacts(
        request_id=str(uuid.uuid4()),
        organization=principal.organization,
        team=principal.team,
        key=principal.key,
        user=principal.user,
        tags=principal.tags,
        tier=principal.tier,
        protocol=call.protocol,
        request_model=candidate.model.name,
        provider=deployment.provider,
        deployment=deployment.id,
        region=deployment.region,
        price_version=deployment.price.version if deployment.price else None,
        release=release,
        candidates=(deployment.id,),
        requested_max_tokens=call.request.requested_max_tokens,
        input_bound_tokens=terms.input_bound_tokens,
        trace_id=call.caller.trace_id,
    )


def _with_user(caller: Caller, request: ModelRequest) -> Caller:
    """The caller with the user that the request's body names, if its headers name none."""
    principal = caller.principal
    user = chosen_user(request.user, param="user", selects=principal.speaks_for_users)
    if user is None or user == principal.user:
        return caller
    if principal.user is not None:
        raise InvalidRequest("The header x-user-id names another user than the body.", param="user")
    return msgspec.structs.replace(caller, principal=msgspec.structs.replace(principal, user=user))


def _given_up(reservation: Reservation) -> bytes:
    """The fields of the event of a hold whose call was not let go on."""
    return msgspec.json.encode(msgspec.json.decode(reservation.draft) | {"outcome": "undecided"})


def _refuse(denied: Denied, *, now_ms: int) -> Never:
    scope = denied.check.scope_name
    if isinstance(denied.check, BudgetCheck):
        message = f"The {scope} does not cover this request."
        raise InsufficientQuota(message, scope=scope, earliest_at_ms=_period_end_ms(denied.check, now_ms))
    headers = rate_headers(denied.limits)
    if denied.retry_after_ms is None:
        message = f"The request asks for more than the {scope} ever admits."
        raise RequestTooLarge(message, scope=scope, more_headers=headers)
    raise RateLimitExceeded(
        f"The {scope} is reached. Try again later.",
        scope=scope,
        retry_after_ms=denied.retry_after_ms,
        earliest_at_ms=now_ms + denied.retry_after_ms,
        more_headers=headers,
    )


def _period_end_ms(check: BudgetCheck, now_ms: int) -> int | None:
    """When the budget's running period ends; None where it never does."""
    end_ms = (check.current if now_ms < check.current.end_ms else check.following).end_ms
    return end_ms if end_ms < END_OF_TIME_MS else None


def _undecided(error: type[PolicyUnavailable] = PolicyUnavailable) -> PolicyUnavailable:
    return error("Requests cannot be decided on at the moment. Try again.", retry_after_ms=_RETRY_AFTER_MS)
