"""What a candidate can do for a call: its terms, what has to be held for it, and the grant that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kong_plugins.llm.authorization import Authorizer, Outgoing, authorization_headers
from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest, ModelNotAllowed
from kong_plugins.llm.grants import (
    USEFUL_OUTPUT_TOKENS,
    CallFacts,
    Grant,
    Meter,
    Terms,
    Upstream,
    response_headers,
    upstream_of,
)
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for, needs_price
from kong_plugins.llm.local_limits import goes_on_without_redis
from kong_plugins.llm.prices import Price
from kong_plugins.llm.protocols import answer_headers, wire_format
from kong_plugins.llm.rate_headers import rate_headers
from kong_plugins.llm.release import Deployment
from kong_plugins.llm.requests import Caller, ModelRequest, Target
from kong_plugins.llm.routes import Candidate, RoutingTable
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.tokens import family_of, input_bound_tokens
from kong_plugins.llm.usage import SECOND


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call to be decided on; of a `probe` it is only asked what the decision would be, and nothing is held."""

    request_id: str
    caller: Caller
    protocol: str
    body: Body
    request: ModelRequest
    probe: bool = False


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate can do for a call: all that a grant needs, worked out before anything is held.

    Its `reservation` is what has to be held, should this candidate serve the call; `credential` is what it presents.
    """

    deployment: Deployment
    upstream: Upstream
    credential: str
    terms: Terms
    facts: CallFacts
    reservation: Reservation


class Offers:
    """The offers of a call's candidates in the order in which they are tried, each worked out when first asked for."""

    def __init__(
        self,
        table: RoutingTable,
        call: Call,
        *,
        settings: EdgeSettings,
        authorizer: Authorizer,
        now_ms: Callable[[], int],
    ) -> None:
        """Raises:
        ModelNotFound, ModelNotAllowed: the policy says so, or no candidate has a price, which a budget needs.
        InvalidRequest: no candidate may answer with as much as the request sets apart for thinking; or it has no bound
            in what they charge for, which a budget needs.
        PolicyBehind: the policy does not know the caller's team.
        """
        self.table = table
        self._call = call
        self._settings = settings
        self._authorizer = authorizer
        self._now_ms = now_ms
        self._admitted_at_ms = now_ms()
        payable = _payable_candidates(table, call, self._admitted_at_ms)
        self._candidates = self._with_credential(_fit_to_think(payable, call.request))
        self._offers: list[Offer] = []

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, number: int) -> Offer:
        """One offer, where those before it have been asked for already."""
        if number == len(self._offers):
            self._offers.append(self._offer(self._candidates[number]))
        return self._offers[number]

    def deployments(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """Who would serve the call, of these offers."""
        return tuple(dict.fromkeys(self._candidates[number].deployment.id for number in numbers))

    def _with_credential(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates without those whose access token is still to be fetched, unless that is all of them."""
        document = self.table.document
        ready = (each for each in candidates if self._authorizer.is_at_hand(document, each.deployment))
        return tuple(ready) or candidates

    def _offer(self, candidate: Candidate) -> Offer:
        deployment = candidate.deployment
        terms = terms_of(candidate, self._call.request, self._call.caller, at_ms=self._admitted_at_ms)
        facts = _facts(self._call, candidate, terms, release=self.table.document.number)
        return Offer(
            deployment=deployment,
            upstream=upstream_of(deployment.base_url, deployment.provider_model),
            credential=self._authorizer.credential(self.table.document, deployment),
            terms=terms,
            facts=facts,
            reservation=self._reservation(candidate, terms),
        )

    def _reservation(self, candidate: Candidate, terms: Terms) -> Reservation:
        principal = self._call.caller.principal
        demand = _demand(candidate, terms, takes_partial=self._takes_partial())
        limits, budgets = checks_for(self.table.document, principal, demand, now_ms=self._now_ms())
        if not self._degrades(candidate):
            budgets = tuple(msgspec.structs.replace(budget, degrade_at_percent=None) for budget in budgets)
        return Reservation(
            organization=principal.organization,
            request_id=self._call.request_id,
            policy_number=self.table.document.number,
            lease_ms=self._settings.lease_ms,
            hold_nusd=terms.cost_nusd,
            hold_tokens=terms.tokens,
            limits=limits,
            budgets=budgets,
            draft=b"{}",
            tier=principal.tier,
            probe=self._call.probe,
            without_redis=goes_on_without_redis(self.table.document, principal.tier, budgets),
            deployment=candidate.deployment.id,
        )

    def _takes_partial(self) -> bool:
        """Whether a part of what the call may cost is of use to it."""
        return self._call.caller.takes_partial and self._call.request.is_divisible

    def _degrades(self, candidate: Candidate) -> bool:
        """Whether a budget passes this candidate over before it is used up: it is not of a lesser model, and one of
        these follows."""
        return candidate.kind != "lesser" and self._candidates[-1].kind == "lesser"


def _payable_candidates(table: RoutingTable, call: Call, at_ms: int) -> tuple[Candidate, ...]:
    """The candidates without those of which nobody knows what the call may cost there, where a budget of the caller
    needs to."""
    caller, request = call.caller, call.request
    found = table.candidates(
        caller.principal, request.model, call.protocol, request_id=call.request_id, may_degrade=caller.may_degrade
    )
    payable = tuple(
        candidate
        for candidate in found
        if _is_bounded(candidate.deployment, _price_of(candidate, request, at_ms), request)
        or not needs_price(table.document, caller.principal, _demand(candidate, None))
    )
    if not payable:
        raise _unpayable(found, request, at_ms)
    return payable


def _is_bounded(deployment: Deployment, price: Price | None, request: ModelRequest) -> bool:
    """Whether it is known what the call may cost at most."""
    if price is None or not price.charges_for(request.unbounded_units):
        return price is not None
    return deployment.longest_audio_s is not None


def _unpayable(found: Sequence[Candidate], request: ModelRequest, at_ms: int) -> InvalidRequest | ModelNotAllowed:
    if all(_price_of(candidate, request, at_ms) is None for candidate in found):
        return _unpriced(found, request, at_ms)
    return InvalidRequest(
        "Of such a file nobody knows before how many seconds it takes, and your budget needs to. Send the sound as a "
        "WAV file of plain samples (PCM), whose header has its true length, or as MP3.",
        param="file",
    )


def _unpriced(found: Sequence[Candidate], request: ModelRequest, at_ms: int) -> ModelNotAllowed:
    """What of the request has no price, as far as one of its candidates has any."""
    prices = [price for candidate in found if (price := candidate.deployment.price_at(at_ms)) is not None]
    tiers = [f"at the service tier {tier!r}" for price in prices for tier in price.unknown_tiers(request.service_tiers)]
    pieces = [f"for {piece!r}" for price in prices for piece in price.unknown_pieces(request.units)]
    what = next((f" {each}" for each in (*tiers, *pieces)), "")
    param = "service_tier" if tiers else "model"
    return ModelNotAllowed(f"The model {request.model!r} has no price{what}, and your budget needs one.", param=param)


def _fit_to_think(candidates: tuple[Candidate, ...], request: ModelRequest) -> tuple[Candidate, ...]:
    """The candidates whose greatest output leaves room for an answer after the thinking that was asked for."""
    if not request.thinking_tokens:
        return candidates
    needed = request.thinking_tokens + USEFUL_OUTPUT_TOKENS
    needed_tokens = min(needed, request.requested_max_tokens or needed)
    fit = tuple(candidate for candidate in candidates if candidate.model.max_output_tokens >= needed_tokens)
    if not fit:
        raise InvalidRequest(
            "The model's greatest output leaves no room for an answer after thinking. Ask for a smaller budget.",
            param="thinking.budget_tokens",
        )
    return fit


def _demand(candidate: Candidate, terms: Terms | None, *, takes_partial: bool = True) -> Demand:
    """What the candidate would use of limits and budgets; without terms, only which of them would be concerned."""
    return Demand(
        request_model=candidate.model.name,
        provider=candidate.deployment.provider,
        tokens=terms.tokens if terms else 0,
        cost_nusd=terms.cost_nusd if terms else None,
        floor_nusd=terms.floor_nusd if terms and takes_partial else None,
    )


def grant_of(call: Call, offer: Offer, granted: Granted, *, deadline_ms: int) -> Grant:
    """The grant of a call that is held; its output is what the granted money pays for."""
    facts = granted_facts(offer, granted)
    terms = offer.terms.within(granted.granted_nusd)
    form = wire_format(call.protocol)
    changes = form.upstream_changes(
        call.body,
        call.request,
        provider_model=offer.deployment.provider_model,
        granted_max_tokens=terms.max_tokens,
    )
    limits = rate_headers(granted.limits, protocol=call.protocol, now_ms=granted.reserved_at_ms)
    spliced, target = call.body.splices(changes), _target(call, offer)
    outgoing = Outgoing(host=offer.upstream.host, target=target, body=call.body.data, splices=spliced)
    proof = authorization_headers(offer.deployment, offer.credential, outgoing, now_ms=granted.reserved_at_ms)
    return Grant(
        upstream=offer.upstream,
        target=target,
        credential_headers=form.credential_headers(offer.credential) if proof is None else proof,
        body=call.body.data,
        splices=spliced,
        strip_usage_chunk=call.request.stream and not call.request.wants_usage,
        deadline_ms=deadline_ms,
        response_headers=response_headers(facts, offer.deployment, terms, limits),
        meter=Meter(
            facts=facts,
            terms=terms,
            hold_nusd=granted.granted_nusd,
            reserved_at_ms=granted.reserved_at_ms,
            provider_model=offer.deployment.provider_model,
            stream=call.request.stream,
            thinks=call.request.thinks,
            is_marked=granted.is_marked,
        ),
        has_other=granted.has_other,
        answer_headers=answer_headers(call.protocol),
        is_partial=granted.granted_nusd < (offer.terms.cost_nusd or 0),
        is_shared=any(check.kind == "organization" and check.refuses for check in offer.reservation.budgets),
    )


def granted_facts(offer: Offer, granted: Granted) -> CallFacts:
    """What is known of a call once it is held, under the id of its hold."""
    return msgspec.structs.replace(
        offer.facts,
        request_id=granted.other_id or offer.facts.request_id,
        shadow_refusals=granted.shadow_refusals,
    )


def _target(call: Call, offer: Offer) -> Target:
    """Where the call goes, with what the deployment's base URL asks beside it."""
    upstream, form = offer.upstream, wire_format(call.protocol)
    target = form.upstream_target(upstream.path, call.request, offer.deployment.provider_model)
    query = "&".join(filter(None, (upstream.query, target.query)))
    return msgspec.structs.replace(target, query=query)


def _price_of(candidate: Candidate, request: ModelRequest, at_ms: int) -> Price | None:
    """The price in force; None where it does not say what the call costs at a tier at which it may be served, or what
    a piece costs that the call asks for."""
    price = candidate.deployment.price_at(at_ms)
    if price is None or price.unknown_tiers(request.service_tiers) or price.unknown_pieces(request.units):
        return None
    return price


def terms_of(candidate: Candidate, request: ModelRequest, caller: Caller, *, at_ms: int) -> Terms:
    """What the candidate may use for the caller's request, at the price that is in force."""
    model = candidate.model
    asked_tokens = request.requested_max_tokens or model.default_output_tokens
    most_tokens = min(asked_tokens, model.max_output_tokens) if request.is_divisible else model.max_output_tokens
    own_tokens = input_bound_tokens(
        request.prompt,
        provider_model=candidate.deployment.provider_model,
        context_window_tokens=model.context_window_tokens,
    )
    return Terms(
        input_bound_tokens=min(
            own_tokens + caller.extra_input_tokens, model.context_window_tokens * request.prompt.prompts
        ),
        max_tokens=most_tokens if request.has_output else 0,
        choices=request.choices,
        price=_price_of(candidate, request, at_ms),
        thinking_tokens=request.thinking_tokens,
        more_thinking_tokens=_more_thinking_tokens(candidate, request),
        writes_1h=request.writes_1h,
        has_media=request.prompt.has_media,
        units=_units(candidate.deployment, request),
        service_tiers=request.service_tiers,
    )


def _units(deployment: Deployment, request: ModelRequest) -> dict[str, int]:
    """The pieces for which the call can be billed there: of a sound no more than the provider takes at once, and as
    much as that where the sound itself has no bound."""
    longest_s = deployment.longest_audio_s
    if longest_s is None or SECOND not in request.units:
        return request.units
    seconds = longest_s if SECOND in request.unbounded_units else min(longest_s, request.units[SECOND])
    return request.units | {SECOND: seconds}


def _more_thinking_tokens(candidate: Candidate, request: ModelRequest) -> int:
    """What may be billed for thinking beside the maximum that the request sets for its answer."""
    if request.more_thinking_tokens is not None:
        return request.more_thinking_tokens
    return family_of(candidate.deployment.provider_model).most_thinking_tokens


def _facts(call: Call, candidate: Candidate, terms: Terms, *, release: int) -> CallFacts:
    principal = call.caller.principal
    deployment = candidate.deployment
    return CallFacts(
        request_id=call.request_id,
        organization=principal.organization,
        team=principal.team,
        key=principal.key,
        key_generation=principal.key_generation,
        user=principal.user,
        tags=principal.tags,
        tier=principal.tier,
        protocol=call.protocol,
        request_model=candidate.model.name,
        provider=deployment.provider,
        deployment=deployment.id,
        region=deployment.region,
        price_version=terms.price.version if terms.price else None,
        release=release,
        requested_max_tokens=call.request.requested_max_tokens,
        input_bound_tokens=terms.input_bound_tokens,
        trace_id=call.caller.trace_id,
        degraded_from=candidate.in_place_of,
    )
