"""What did it cost, of a call that Bursar does not decide on: from a caller and a body to what the guard and the meter
need. The call goes on in any case, to where its client sends it and with its client's credential.

Nothing is held. That a call was made counts in limits and request budgets at once; its tokens and its cost, when they
are known. What would have refused it, were the route governed, is in its event under `shadow_refusals`.
"""

from __future__ import annotations

import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

import msgspec

from kong_plugins.llm.body import Body, Splice
from kong_plugins.llm.errors import (
    InvalidRequest,
    ModelNotAllowed,
    ModelNotFound,
    PolicyUnavailable,
    RequestTooLarge,
    StoreUnavailable,
    UnsupportedEncoding,
)
from kong_plugins.llm.grants import CallFacts, Meter, Terms, event_fields
from kong_plugins.llm.keys import UNATTRIBUTED, Principal
from kong_plugins.llm.limits import (
    BudgetCheck,
    Demand,
    Granted,
    LimitCheck,
    Reservation,
    Unready,
    checks_for,
    needs_price,
    reporting_only,
)
from kong_plugins.llm.offers import terms_of
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.policies import Policies
from kong_plugins.llm.protocols import answer_headers, path_in, read_body, wire_format
from kong_plugins.llm.refusals import undecided
from kong_plugins.llm.requests import Asked, Caller, ModelRequest, check_stored
from kong_plugins.llm.routes import Candidate, PolicyBehind, RoutingTable
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.store import Store

# What has to be added to a request so that its answer says what was used, by the name of the member.
_ASKS_FOR_USAGE: Final = "stream_options"
_LONGEST_MODEL_NAME: Final = 128
_MEMBER: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.IGNORECASE)
# Of what could not be understood, nothing is known: no bound, and no price.
_UNKNOWN: Final = Terms(input_bound_tokens=0, max_tokens=0, choices=1, price=None)


class RouteCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What a route's configuration says of its calls: their wire format, what plugins behind the guard add to their
    prompts at most, whether they may name what lies in the provider's account, and, where they are observed, to which
    `provider` of the catalogue they go and whether streams may be asked for their usage."""

    protocol: str
    provider: str | None = None
    include_usage: bool = True
    extra_input_tokens: int = 0
    stored_context: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RouteCalls:
        """The calls as the configuration of `llm-rate-limit` describes them."""
        known = {name: config.get(name) for name in cls.__struct_fields__}
        return msgspec.convert({name: value for name, value in known.items() if value is not None}, cls, strict=False)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard does to an observed call, and what the meter needs to count it."""

    body: bytes
    splices: tuple[Splice, ...]
    meter: Meter

    def table(self) -> dict[str, object]:
        """The observation as the guard reads it; body offsets count from 0."""
        return {
            "body_length": len(self.body),
            "body_crc32": zlib.crc32(self.body),
            "splices": [list(splice) for splice in self.splices],
            "strip_usage_chunk": bool(self.splices),
            "answer_headers": list(answer_headers(self.meter.facts.protocol)),
            "meter": msgspec.json.encode(self.meter).decode(),
        }


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A call as far as it could be understood; `refusal` says what of it a governed route does not take."""

    request_id: str
    caller: Caller
    calls: RouteCalls
    body: Body | None = None
    request: ModelRequest | None = None
    refusal: str | None = None

    @property
    def model(self) -> str:
        """The model's name as asked for; empty where that is not known."""
        asked = self.request.model if self.request else self.body.get("model") if self.body else None
        is_name = isinstance(asked, str) and asked.isprintable()
        return str(asked)[:_LONGEST_MODEL_NAME] if is_name else ""


class Observer:
    """Looks at calls by the policy in force, as far as that can be read; never raises, and never waits."""

    def __init__(
        self,
        store: Store,
        settings: EdgeSettings,
        *,
        outbox: Outbox,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._settings = settings
        self._outbox = outbox
        self._policies = Policies(store)
        self._now_ms = now_ms

    def reads(self, caller: Caller) -> bool:
        """Whether the body is of a size to be looked at."""
        return (caller.content_length or 0) <= self._settings.max_request_bytes

    def observe(self, caller: Caller, data: bytes, calls: RouteCalls, *, asked_at: str = "") -> Observation:
        """What is known of a call with this body, `asked_at` a path with its query."""
        seen = self._understood(caller, data, calls, asked_at)
        organization = caller.principal.organization
        try:
            meter = self._policies.decide(organization, lambda table: self._counted(table, seen))
        except PolicyUnavailable:
            meter = _meter(seen, caller.principal, None, _UNKNOWN, reserved_at_ms=self._now_ms())
        return Observation(body=data, splices=_asking_for_usage(seen), meter=meter)

    @contextmanager
    def giving_out(self, observation: Observation) -> Iterator[None]:
        """Give the observation to Kong within this context: where that fails, as its request is gone, it ends."""
        try:
            yield
        except BaseException:
            facts = observation.meter.facts
            self._outbox.void(facts.organization, facts.request_id, event_fields(facts, outcome="not_sent"))
            raise

    def _understood(self, caller: Caller, data: bytes, calls: RouteCalls, asked_at: str) -> _Seen:
        path, _, query = asked_at.partition("?")
        seen = _Seen(request_id=str(uuid.uuid4()), caller=caller, calls=calls)
        try:
            if not self.reads(caller):
                raise RequestTooLarge("")
            if caller.content_encoding.lower() not in ("", "identity"):
                raise UnsupportedEncoding("")
            body = read_body(calls.protocol, data, caller.content_type)
            seen = msgspec.structs.replace(seen, body=body)
            own_path = path_in(path, calls.protocol)
            asked = Asked(path=own_path, query=query, betas=caller.betas, options=caller.options)
            request = wire_format(calls.protocol).parse_request(body, asked)
            seen = msgspec.structs.replace(seen, request=request)
            check_stored(caller, request)
        except InvalidRequest as error:
            return msgspec.structs.replace(seen, refusal=_named(error))
        return seen

    def _counted(self, table: RoutingTable, seen: _Seen) -> Meter:
        """What the meter is to know of the call, which is counted from now on.

        Raises:
            PolicyBehind: a newer policy is in force.
        """
        principal = _with_tier(table, seen.caller.principal)
        candidate = _served(table, seen)
        terms = _terms(candidate, seen, at_ms=self._now_ms())
        meter = _meter(seen, principal, candidate, terms, release=table.document.number)
        demand = Demand(
            request_model=meter.facts.request_model,
            provider=meter.facts.provider,
            tokens=terms.tokens,
            cost_nusd=terms.cost_nusd,
            floor_nusd=terms.floor_nusd,
        )
        granted = self._reserve(table, principal, demand, meter.facts)
        found = [*_refusals(table, principal, seen, candidate, demand), *(granted.shadow_refusals if granted else ())]
        return msgspec.structs.replace(
            meter,
            facts=msgspec.structs.replace(meter.facts, shadow_refusals=tuple(found)),
            reserved_at_ms=granted.reserved_at_ms if granted else self._now_ms(),
        )

    def _reserve(self, table: RoutingTable, principal: Principal, demand: Demand, facts: CallFacts) -> Granted | None:
        """Count that the call is made; None where that cannot be done now, and the ledger has to later on."""
        limits, budgets = _known(
            table, principal, *checks_for(table.document, principal, demand, now_ms=self._now_ms())
        )
        reservation = Reservation(
            organization=principal.organization,
            request_id=facts.request_id,
            policy_number=table.document.number,
            lease_ms=self._settings.lease_ms,
            # Should its end never be told, its cost stays unknown.
            hold_nusd=None,
            hold_tokens=0,
            limits=limits,
            budgets=budgets,
            draft=event_fields(facts),
            tier=principal.tier,
            observed=True,
        )
        try:
            result = self._store.reserve(reservation)
        except StoreUnavailable:
            return None
        if isinstance(result, Unready) and result.reason == "stale_policy":
            raise undecided(PolicyBehind)
        return result if isinstance(result, Granted) else None


def _terms(candidate: Candidate | None, seen: _Seen, *, at_ms: int) -> Terms:
    if candidate is None or seen.request is None:
        return _UNKNOWN
    return terms_of(candidate, seen.request, seen.caller, at_ms=at_ms)


def _asking_for_usage(seen: _Seen) -> tuple[Splice, ...]:
    """The splices with which a stream tells its usage; none where it does so anyway."""
    body, request = seen.body, seen.request
    if body is None or request is None or not seen.calls.include_usage:
        return ()
    changes = wire_format(seen.calls.protocol).upstream_changes(
        body, request, provider_model=request.model, granted_max_tokens=request.requested_max_tokens or 1
    )
    return body.splices({name: value for name, value in changes.items() if name == _ASKS_FOR_USAGE})


def _named(error: InvalidRequest) -> str:
    """What a governed route would refuse, and because of which member: a few names, however requests are written."""
    member = _MEMBER.match(error.param or "")
    return f"{error.code}: {member.group()}" if member else error.code


def _with_tier(table: RoutingTable, principal: Principal) -> Principal:
    """With the tier of its team, where no key says another."""
    team = next((team for team in table.document.teams if team.id == principal.team), None)
    if team is None or principal.key != UNATTRIBUTED:
        return principal
    return msgspec.structs.replace(principal, tier=team.tier)


def _served(table: RoutingTable, seen: _Seen) -> Candidate | None:
    """The catalogue's deployment for which the call is meant: at the route's provider, called as the provider calls
    it, or else as clients do."""
    document, calls = table.document, seen.calls
    models = {name: model for model in document.models for name in model.deployments}
    found = [
        Candidate(model=models[each.id], deployment=each)
        for each in document.deployments
        if each.provider == calls.provider and each.protocol == calls.protocol and each.id in models
    ]
    by_provider = (each for each in found if each.deployment.provider_model == seen.model)
    by_client = (each for each in found if each.model.name == seen.model)
    return next(chain(by_provider, by_client), None)


def _known(
    table: RoutingTable, principal: Principal, limits: tuple[LimitCheck, ...], budgets: tuple[BudgetCheck, ...]
) -> tuple[tuple[LimitCheck, ...], tuple[BudgetCheck, ...]]:
    """The checks of those who have counters, as reports only: others than teams of the policy and keys have none."""
    unknown = {"team": not _is_team(table, principal), "key": principal.key == UNATTRIBUTED}
    return reporting_only(
        (check for check in limits if not unknown.get(check.kind)),
        (check for check in budgets if not unknown.get(check.kind)),
    )


def _refusals(
    table: RoutingTable, principal: Principal, seen: _Seen, candidate: Candidate | None, demand: Demand
) -> Iterator[str]:
    """Why a governed route would not even have looked for limits."""
    if seen.caller.would_be_refused:
        yield seen.caller.would_be_refused
    if seen.refusal:
        yield seen.refusal
    elif candidate is None:
        yield ModelNotFound.code
    elif demand.cost_nusd is None and needs_price(table.document, principal, demand):
        yield ModelNotAllowed.code
    elif _is_team(table, principal):
        try:
            table.candidates(principal, candidate.model.name, seen.calls.protocol, request_id=seen.request_id)
        except (ModelNotAllowed, ModelNotFound) as error:
            yield error.code


def _is_team(table: RoutingTable, principal: Principal) -> bool:
    return any(team.id == principal.team for team in table.document.teams)


def _meter(
    seen: _Seen,
    principal: Principal,
    candidate: Candidate | None,
    terms: Terms,
    *,
    release: int = 0,
    reserved_at_ms: int = 0,
) -> Meter:
    request = seen.request
    # What was not understood may have cost more than its tokens: no price of a deployment is ever to be put on it.
    deployment = candidate.deployment if candidate and request else None
    facts = CallFacts(
        request_id=seen.request_id,
        organization=principal.organization,
        team=principal.team,
        key=principal.key,
        key_generation=principal.key_generation,
        user=principal.user or (request.user if request else None),
        tags=principal.tags,
        tier=principal.tier,
        protocol=seen.calls.protocol,
        request_model=candidate.model.name if candidate else seen.model,
        provider=seen.calls.provider,
        deployment=deployment.id if deployment else None,
        region=deployment.region if deployment else None,
        price_version=terms.price.version if terms.price else None,
        release=release,
        requested_max_tokens=request.requested_max_tokens if request else None,
        input_bound_tokens=terms.input_bound_tokens or None,
        trace_id=seen.caller.trace_id,
    )
    return Meter(
        facts=facts,
        terms=terms,
        hold_nusd=0,
        reserved_at_ms=reserved_at_ms,
        provider_model=deployment.provider_model if deployment else seen.model,
        stream=request.stream if request else False,
        thinks=request.thinks if request else None,
        observed=True,
    )
