"""What a candidate can do for a call: its terms, what has to be held for it, and the grant that comes of it."""

from __future__ import annotations

import uuid

import msgspec

from kong_plugins.llm.body import Body, splices
from kong_plugins.llm.credentials import open_credential
from kong_plugins.llm.errors import ModelNotAllowed
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
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for, needs_price
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.release import Deployment
from kong_plugins.llm.requests import Caller, ModelRequest
from kong_plugins.llm.routes import Candidate, RoutingTable
from kong_plugins.llm.tokens import input_bound_tokens


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


def offer_of(table: RoutingTable, call: Call, candidate: Candidate, *, credential_key: str) -> Offer:
    """What the candidate can do for the call.

    Raises:
        ValueError: its credential cannot be opened.
    """
    deployment = candidate.deployment
    terms = _terms(candidate, call.request)
    return Offer(
        deployment=deployment,
        upstream=upstream_of(deployment.base_url),
        credential=open_credential(
            table.document.credentials[deployment.credential],
            credential_id=deployment.credential,
            credential_key=credential_key,
        ),
        terms=terms,
        facts=_facts(call, candidate, terms, release=table.document.number),
    )


def reservation_of(table: RoutingTable, call: Call, offer: Offer, *, lease_ms: int, now_ms: int) -> Reservation:
    """What has to be held for the call, should this candidate serve it.

    Raises:
        ModelNotAllowed: it has no price, which a budget of the caller needs.
    """
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
    limits, budgets = checks_for(table.document, principal, demand, now_ms=now_ms)
    return Reservation(
        organization=principal.organization,
        request_id=offer.facts.request_id,
        policy_number=table.document.number,
        lease_ms=lease_ms,
        hold_nusd=offer.terms.cost_nusd,
        hold_tokens=offer.terms.tokens,
        limits=limits,
        budgets=budgets,
        draft=event_fields(offer.facts),
        tier=principal.tier,
        probe=call.probe,
    )


def grant_of(call: Call, offer: Offer, granted: Granted, *, deadline_ms: int) -> Grant:
    """The grant of a call that is held; its output is what the granted money pays for."""
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
        deadline_ms=deadline_ms,
        response_headers=response_headers(offer.facts, offer.deployment, terms, granted.limits),
        meter=Meter(
            facts=msgspec.structs.replace(offer.facts, shadow_refusals=granted.shadow_refusals),
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
