"""Ask before you spend: what would become of a call, decided by what decides calls, and holding nothing.

An estimate is worth as much work as a refusal and writes less than one, so it counts against no limit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from kong_plugins.llm.admission import Admission, WouldWait
from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import BursarError, InvalidRequest, NotFound, PermissionDenied, Refusal, RequestTooLarge
from kong_plugins.llm.grants import CallFacts, Grant, Terms
from kong_plugins.llm.money import usd_from_nusd
from kong_plugins.llm.protocols import protocol_of_path
from kong_plugins.llm.requests import Caller

_WRAPPING: Final = {"path", "body"}


class RefusedBy(msgspec.Struct, frozen=True, kw_only=True):
    """Why the call would be refused: as its answer would say, and from when on (RFC 3339) it may be admitted, if
    nobody else uses what becomes free; None where waiting is no help."""

    code: str
    status: int
    message: str
    scope: str | None
    retry_after_ms: int | None
    earliest_at: str | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a call would be admitted now, where it would go, and the most that would be held for it: None where no
    price is known. `max_tokens` is granted to each of its `choices`.

    `is_partial`: a budget covers less than the call asks for, and shortens its answer. How much is left for it is not
    told then where a budget of the whole organization may be what shortens it: that would be what the budget has left.

    `waits_for` names the limit or budget in whose line the call would stand first. `passed_over` are the deployments
    that would be tried before, each with the scope that says no, or `failing`; `degraded_from` is the model that the
    call names, where another would serve it.
    """

    admitted: bool
    waits_for: str | None = None
    passed_over: tuple[str, ...] = ()
    degraded_from: str | None = None
    model: str | None = None
    provider: str | None = None
    provider_model: str | None = None
    deployment: str | None = None
    input_bound_tokens: int | None = None
    max_tokens: int | None = None
    choices: int | None = None
    is_partial: bool = False
    hold_nusd: int | None = None
    hold_usd: str | None = None
    refusal: RefusedBy | None = None


def estimate(admission: Admission, caller: Caller, data: bytes, protocol: str, *, asked_at: str = "") -> Estimate:
    """What would become of the call with this body, asked at a path with its query.

    Raises:
        InvalidRequest: it is no such call.
        PolicyUnavailable: nothing can be decided at the moment.
    """
    try:
        return _of_grant(admission.admit(caller, data, protocol, asked_at=asked_at, probe=True))
    except WouldWait as wait:
        return _of_wait(wait)
    except (Refusal, PermissionDenied, NotFound) as error:
        return Estimate(admitted=False, refusal=_of_error(error))
    except RequestTooLarge as error:
        if error.scope is None:
            raise
        return Estimate(admitted=False, refusal=_of_error(error))


def asked_estimate(admission: Admission, caller: Caller, data: bytes, protocol: str) -> Estimate:
    """The estimate of a call that is asked for as `{"path": …, "body": {…}}`, or by its body alone.

    Raises:
        InvalidRequest, PolicyUnavailable: as for `estimate`; or the path is none that is served.
    """
    question = parse_body(data)
    if question.members.keys().isdisjoint(_WRAPPING):
        return estimate(admission, caller, data, protocol)
    if unknown := question.members.keys() - _WRAPPING:
        name = min(unknown)[:64]
        raise InvalidRequest(f"{name} has no place beside path and body.", param=name)
    path = question.get("path")
    named = protocol_of_path(path.partition("?")[0]) if isinstance(path, str) else None
    if named is None:
        raise InvalidRequest("path must be the path of a call, such as /v1/chat/completions.", param="path")
    if not isinstance(question.get("body"), dict):
        raise InvalidRequest("body must be the JSON object that the call would send.", param="body")
    body = question.members["body"]
    return estimate(admission, caller, data[body.start : body.end], named, asked_at=str(path))


def _of_grant(grant: Grant) -> Estimate:
    meter = grant.meter
    known = _of_candidate(meter.facts, meter.terms, meter.provider_model, hold_nusd=meter.hold_nusd)
    known = msgspec.structs.replace(known, admitted=True, is_partial=grant.is_partial)
    if grant.is_partial and grant.is_shared:
        return msgspec.structs.replace(known, max_tokens=None, hold_nusd=None, hold_usd=None)
    return known


def _of_wait(wait: WouldWait) -> Estimate:
    offer = wait.offer
    known = _of_candidate(
        offer.facts, offer.terms, offer.deployment.provider_model, hold_nusd=offer.terms.cost_nusd or 0
    )
    return msgspec.structs.replace(known, waits_for=wait.waiting.check.scope_name)


def _of_candidate(facts: CallFacts, terms: Terms, provider_model: str, *, hold_nusd: int) -> Estimate:
    priced = terms.price is not None
    return Estimate(
        admitted=False,
        passed_over=facts.candidates[:-1],
        degraded_from=facts.degraded_from,
        model=facts.request_model,
        provider=facts.provider,
        provider_model=provider_model,
        deployment=facts.deployment,
        input_bound_tokens=terms.input_bound_tokens,
        max_tokens=terms.max_tokens,
        choices=terms.choices,
        hold_nusd=hold_nusd if priced else None,
        hold_usd=f"{usd_from_nusd(hold_nusd):f}" if priced else None,
    )


def _of_error(error: BursarError) -> RefusedBy:
    return RefusedBy(
        code=error.code,
        status=error.http_status,
        message=error.message,
        scope=error.scope,
        retry_after_ms=error.retry_after_ms,
        earliest_at=None if error.earliest_at_ms is None else _instant(error.earliest_at_ms),
    )


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
