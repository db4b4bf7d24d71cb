"""What did it cost: from what became of a granted call to the settlement of its hold."""

from __future__ import annotations

import logging
import time
from typing import Final, Literal, Protocol

import msgspec

from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.failures import Failure, passed_over_ms
from kong_plugins.llm.grants import Meter, Terms, event_fields
from kong_plugins.llm.marks import Ending, Marks
from kong_plugins.llm.prices import cost_nusd
from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Answer, Reading
from kong_plugins.llm.tokens import family_of
from kong_plugins.llm.usage import Quality, Usage

logger = logging.getLogger(__name__)

_CLIENT_CLOSED_REQUEST: Final = 499  # nginx's status where the client left before the answer began


class FinishedCall(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard saw of a granted call.

    `applied`: the grant was put on the request. `connected`: a provider was sent some of it. `source`: who answered,
    the provider (service), nginx (error) or a plugin (exit). `failure` is what its deployment is to blame for.
    """

    meter: Meter
    applied: bool
    connected: bool
    source: Literal["service", "error", "exit"]
    status: int
    answer: Answer
    ended_at_deadline: bool = False
    latency_ms: int | None = None
    first_byte_ms: int | None = None
    failure: Failure | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the provider takes our credential no more."""
        return self.failure is not None and self.failure.kind == "refused"


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a call comes to. `usage` is None where the provider has billed nothing, and the hold is given back."""

    outcome: str
    usage: Usage | None = None
    amount_nusd: int | None = 0
    quality: Quality | None = None
    response_model: str | None = None
    service_tier: str | None = None


class Books(Protocol):
    """Where calls are settled: the outbox, or the store itself."""

    def post(
        self,
        organization: str,
        request_id: str,
        *,
        amount_nusd: int | None,
        tokens: int,
        event_fields: bytes,
        reserved_at_ms: int | None,
        hold_nusd: int,
    ) -> object: ...

    def void(self, organization: str, request_id: str, event_fields: bytes) -> object: ...


def settle(books: Books, call: FinishedCall) -> None:
    """Post what the call has cost, or void its hold."""
    settlement = settlement_of(call)
    organization, request_id = call.meter.facts.organization, call.meter.facts.request_id
    fields = settled_fields(call, settlement)
    if settlement.usage is None:
        books.void(organization, request_id, event_fields=fields)
        return
    books.post(
        organization,
        request_id,
        amount_nusd=settlement.amount_nusd,
        tokens=settlement.usage.total_tokens,
        event_fields=fields,
        reserved_at_ms=call.meter.reserved_at_ms,
        hold_nusd=call.meter.hold_nusd,
    )


def settlement_of(call: FinishedCall) -> Settlement:
    """What the call comes to: nothing only where the provider was never reached or itself refused."""
    if not call.applied or not call.connected:
        return Settlement(outcome="not_sent")
    if call.source != "service":
        return _priced(call.meter, Reading(), outcome="unanswered")
    if call.status in (0, _CLIENT_CLOSED_REQUEST):
        return _priced(call.meter, _abandoned_reading(call.meter), outcome="abandoned")
    if not 200 <= call.status < 300:
        return Settlement(outcome="provider_error")
    reading = wire_format(call.meter.facts.protocol).read_answer(call.answer)
    return _priced(call.meter, reading, outcome=_outcome(call))


def note(marks: Marks, call: FinishedCall) -> bool:
    """Have all gateways know what the call says of its deployment, as far as Redis can be told; True where a mark was
    made by it, made longer or taken away. What goes well at a deployment that is not marked is no news."""
    facts, ending = call.meter.facts, _ending(call)
    if facts.deployment is None or (ending != "failed" and not call.meter.is_marked):
        return False
    try:
        return marks.note(
            facts.organization,
            facts.deployment,
            ending,
            request_id=facts.request_id,
            reserved_at_ms=call.meter.reserved_at_ms,
            status=call.status,
            passed_over_ms=(
                passed_over_ms(call.failure, status=call.status, now_ms=_now_ms()) if call.failure else None
            ),
        )
    except StoreUnavailable as error:
        logger.warning("how the deployment %s has answered is not noted: %s", facts.deployment, error)
        return False


def settled_fields(call: FinishedCall, settlement: Settlement) -> bytes:
    """The fields of the settled call's event, as JSON."""
    return event_fields(
        call.meter.facts,
        outcome=settlement.outcome,
        http_status=call.status,
        response_model=settlement.response_model,
        quality=settlement.quality,
        service_tier=settlement.service_tier,
        granted_max_tokens=None if call.meter.observed else call.meter.terms.max_tokens,
        latency_ms=call.latency_ms,
        first_token_ms=call.first_byte_ms,
        **msgspec.structs.asdict(settlement.usage or Usage()),
    )


def _priced(meter: Meter, reading: Reading, *, outcome: str) -> Settlement:
    usage, quality, amount_nusd = _measured(meter, reading)
    price = meter.terms.price
    return Settlement(
        service_tier=_tier(meter.terms, usage, reading),
        outcome=outcome,
        usage=usage,
        amount_nusd=None if price is None else amount_nusd,
        quality="unpriced" if price is None else quality,
        response_model=reading.response_model,
    )


def _measured(meter: Meter, reading: Reading) -> tuple[Usage, Quality, int]:
    """The usage, how well it is known, and its amount: the provider's count, or what was sent, or the whole hold."""
    terms = meter.terms
    if reading.usage is not None and _is_rated(terms, reading.usage):
        # No answer that tells tokens tells pieces too, and a price may have a rate for either.
        told = msgspec.structs.replace(reading.usage, units=reading.usage.units or terms.units)
        usage = _with_writes(told, meter, reading)
        amount_nusd = _cost_nusd(terms, usage, reading)
        tier = reading.service_tier
        if tier is not None and terms.price is not None and terms.price.unknown_tiers((tier,)):
            # It was served at a dearer tier than it had asked for, of which nobody knows what it costs.
            return usage, "upper_bound", max(meter.most_nusd, amount_nusd)
        quality: Quality = "exact" if usage == told else "partial"
        return usage, quality, amount_nusd
    pieces = Usage(units=terms.units)
    if reading.as_asked and _cost_nusd(terms, pieces, reading) == terms.cost_nusd:
        # Nothing but the pieces has a price.
        return pieces, "exact", terms.cost_nusd
    sent_tokens = None if _may_think(meter) else reading.sent_bound_tokens
    most_tokens = terms.output_bound_tokens
    output_tokens = most_tokens if sent_tokens is None else min(sent_tokens, most_tokens)
    if reading.input_usage is not None:
        usage = msgspec.structs.replace(
            _with_writes(reading.input_usage, meter, reading), output_tokens=output_tokens, units=terms.units
        )
        return usage, "partial", min(meter.most_nusd, _cost_nusd(terms, usage, reading))
    bound = Usage(input_tokens=terms.input_bound_tokens, output_tokens=output_tokens, units=terms.units)
    if sent_tokens is None:
        return bound, "upper_bound", meter.most_nusd
    return bound, "partial", min(meter.most_nusd, terms.worst_cost_nusd(output_tokens))


def _is_rated(terms: Terms, usage: Usage) -> bool:
    """Whether the price has a rate for what the answer counts: it may tell only seconds, where tokens have a price."""
    price = terms.price
    if price is None or not usage.units or usage.total_tokens or terms.cost_nusd == 0:
        return True
    return any(price.has_rate(name) for name in usage.units)


def _cost_nusd(terms: Terms, usage: Usage, reading: Reading) -> int:
    """What the usage costs; 0 where no price is known."""
    tier = _tier(terms, usage, reading)
    return 0 if terms.price is None or tier is None else cost_nusd(terms.price, usage, tier)


def _tier(terms: Terms, usage: Usage, reading: Reading) -> str | None:
    """The tier that is said to have served the call; else the dearest one that may have, None where that is not
    known."""
    price = terms.price
    if reading.service_tier is not None or len(terms.service_tiers) == 1:
        return reading.service_tier or terms.service_tiers[0]
    return None if price is None else max(terms.service_tiers, key=lambda tier: cost_nusd(price, usage, tier))


def _may_think(meter: Meter) -> bool:
    """Whether output may have been billed of which no client saw anything."""
    return family_of(meter.provider_model).hides_reasoning if meter.thinks is None else meter.thinks


def _with_writes(usage: Usage, meter: Meter, reading: Reading) -> Usage:
    """The usage; where the provider does not say for how long its cache keeps what was written, for the longest time
    that the request has asked for."""
    if not (reading.unsplit_writes and meter.terms.writes_1h):
        return usage
    return msgspec.structs.replace(usage, cache_write_1h_tokens=usage.cache_write_tokens)


def _abandoned_reading(meter: Meter) -> Reading:
    """The client left before the answer began: nothing of a stream was sent, but a plain answer may be complete."""
    return Reading(sent_bound_tokens=SLACK_TOKENS if meter.stream else None)


def _ending(call: FinishedCall) -> Ending:
    if call.failure is not None:
        return "failed"
    return "succeeded" if call.source == "service" and 200 <= call.status < 300 else "neither"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _outcome(call: FinishedCall) -> str:
    if call.answer.complete:
        return "completed"
    return "deadline" if call.ended_at_deadline else "interrupted"
