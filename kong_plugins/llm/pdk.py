"""Kong's plugin development kit as Bursar uses it: the only place that names its methods and what lies in ctx.shared.

Written for kong-pdk without its Lua style: a call returns the bare value, headers are name → list of values, and a
body is bytes. No argument is ever None, because Kong drops what follows a None; and nothing is called after `exit`,
because Kong answers no more.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import BursarError, PolicyUnavailable
from kong_plugins.llm.failures import Failure
from kong_plugins.llm.grants import Grant, Meter
from kong_plugins.llm.metering import FinishedCall
from kong_plugins.llm.observation import Observer, RouteCalls
from kong_plugins.llm.protocols import error_head, wire_format
from kong_plugins.llm.protocols.answers import Answer
from kong_plugins.llm.requests import Caller
from kong_plugins.llm.wishes import DRY_RUN_HEADER, Headers

_MOST_HEADERS: Final = 1000  # Kong's own maximum; it reads 100 unless told otherwise
_WHOLE_BODY: Final = 0


def request_headers(kong: Any) -> Headers:
    """The request's headers under lower-case names."""
    headers: Headers = kong.request.get_headers(_MOST_HEADERS)
    return headers


def request_body(kong: Any) -> bytes:
    """The request's body; empty where there is none. Kong reads it from its temporary file where it is large."""
    return _bytes(kong.request.get_raw_body(_WHOLE_BODY) or b"")


def request_target(kong: Any, protocol: str) -> str:
    """The path and the query of the request as they came; empty where its wire format says nothing in them."""
    return str(kong.request.get_path_with_query()) if wire_format(protocol).READS_TARGET else ""


def request_query(kong: Any, protocol: str) -> str:
    """The query of the request; empty where its wire format says nothing in it."""
    return str(kong.request.get_raw_query()) if wire_format(protocol).READS_TARGET else ""


class RequestOrigin:
    """Where a request comes in, asked of Kong only where it matters: each question costs a round trip."""

    def __init__(self, kong: Any) -> None:
        self._kong = kong

    def route_names(self) -> tuple[str, ...]:
        """What the route may be called by: its name, where it has one, and its id."""
        route = self._kong.router.get_route() or {}
        return tuple(str(route[name]) for name in ("name", "id") if route.get(name))

    def address(self) -> str:
        """The client's address: that of the connection, unless that is one of Kong's `trusted_ips`, whose
        `real_ip_header` counts then. (Kong's documentation of kong.client.get_forwarded_ip)"""
        return str(self._kong.client.get_forwarded_ip() or "")


def set_caller(kong: Any, caller: Caller) -> None:
    """Pass the caller on to the next plugin, and tell Kong, whose logging plugins then name the team."""
    principal = caller.principal
    team = f"{principal.organization}/{principal.team}"
    kong.ctx.shared.set("llm_principal", msgspec.json.encode(caller).decode())
    kong.client.authenticate({"id": team, "username": principal.team, "custom_id": team}, {"id": principal.key})


def caller(kong: Any, calls: RouteCalls) -> Caller:
    """The caller that `llm-key-auth` has resolved, with what the route lets its calls do.

    Raises:
        PolicyUnavailable: there is none: that plugin is not on the route, or Kong went on without it.
    """
    data = kong.ctx.shared.get("llm_principal")
    if data is None:
        raise PolicyUnavailable("The caller could not be determined. Try again.", retry_after_ms=1000)
    return _caller(data, calls)


def consumer_name(kong: Any) -> str | None:
    """What Kong's own authentication plugins have found out: the consumer's custom id, or else its user name."""
    consumer = kong.client.get_consumer() or {}
    return consumer.get("custom_id") or consumer.get("username")


def set_observed_caller(kong: Any, caller: Caller) -> None:
    """Pass the caller on to the next plugin; to Kong it stays whoever it was."""
    if not caller.principal.organization:
        kong.log.err("set config.organization of llm-key-auth: no call on this route is counted")
        return
    kong.ctx.shared.set("llm_principal", msgspec.json.encode(caller).decode())


def observe(kong: Any, observer: Observer, calls: RouteCalls) -> None:
    """Look at a call and let it go on; one whose caller `llm-key-auth` did not look at is not known to anybody, and
    a request without a body calls no model."""
    data = kong.ctx.shared.get("llm_principal")
    if data is None:
        return
    caller = _caller(data, calls)
    body = request_body(kong) if observer.reads(caller) else b""
    if not body and observer.reads(caller):
        return
    observation = observer.observe(caller, body, calls, asked_at=request_target(kong, calls.protocol))
    with observer.giving_out(observation):
        kong.ctx.shared.set("llm_observation", observation.table())


def beat(kong: Any) -> None:
    """Tell Kong that the handler is still at work, since it waits only so long for each answer. Does not return where
    the request is gone."""
    kong.ctx.shared.get("llm_grant")


def set_grant(kong: Any, grant: Grant) -> None:
    """Let the request pass the guard."""
    kong.ctx.shared.set("llm_grant", grant.table())


def answer(kong: Any, content: object, **more_headers: str) -> None:
    """Answer a question with JSON. Nothing may be asked of Kong after this."""
    headers = {"content-type": "application/json", "cache-control": "no-store", **more_headers}
    kong.response.exit(200, msgspec.json.encode(content).decode(), headers)


def answer_question(kong: Any, admission: Admission, caller: Caller, question: str) -> None:
    """Answer how the key's own limits stand, or which models it may use. Raises: BursarError."""
    return answer(kong, admission.standing(caller) if question == "limits" else admission.models(caller, _path(kong)))


def answer_dry_run(kong: Any, content: object) -> None:
    """Answer what would have become of a call, so that nobody takes it for the call's answer."""
    answer(kong, content, **{DRY_RUN_HEADER: "1"})


def refuse(kong: Any, error: BursarError, protocol: str) -> None:
    """Answer instead of the provider, in the client's own dialect. Nothing may be asked of Kong after this.

    What has failed on our side, which is not for the client, goes to Kong's log.
    """
    if error.__cause__ is not None:
        kong.log.err(f"{error.code}: {error.__cause__!r}")
    status, headers = error_head(protocol, error)
    kong.response.exit(status, wire_format(protocol).error_body(error), headers)


def finished_call(kong: Any) -> FinishedCall | None:
    """What the guard saw of a granted call; None where the request had no grant."""
    call = kong.ctx.shared.get("llm_call")
    if call is None:
        return None
    return FinishedCall(
        meter=msgspec.json.decode(call["meter"], type=Meter),
        applied=call["applied"],
        connected=call["connected"],
        source=call["source"],
        status=int(call["status"]),
        answer=Answer(
            content_type=call["content_type"],
            content_encoding=call["content_encoding"],
            head=_bytes(call["head"]),
            tail=_bytes(call["tail"]),
            size_bytes=int(call["bytes"]),
            event_count=int(call["events"]),
            complete=call["complete"],
            headers=dict(call["headers"] or {}),
        ),
        ended_at_deadline=call["ended_at_deadline"],
        latency_ms=_milliseconds(call.get("latency_ms")),
        first_byte_ms=_milliseconds(call.get("first_byte_ms")),
        failure=msgspec.convert(call["failure"], Failure) if "failure" in call else None,
    )


def warn_of_refused_credential(kong: Any, call: FinishedCall) -> None:
    """Tell Kong's log that a provider takes our key no more, which only people can put right."""
    facts = call.meter.facts
    kong.log.err(
        f"the provider {facts.provider} refuses the credential of the deployment {facts.deployment} ({call.status}):"
        f" other deployments serve its calls, as far as there are any"
    )


def _caller(data: str, calls: RouteCalls) -> Caller:
    return msgspec.structs.replace(
        msgspec.json.decode(data, type=Caller),
        extra_input_tokens=calls.extra_input_tokens,
        may_name_stored=calls.stored_context,
    )


def _path(kong: Any) -> str:
    """The path of the request, as its route was chosen by it."""
    return str(kong.request.get_path())


def _bytes(text: str | bytes) -> bytes:
    """A Lua string, which the plugin server reads as text in which bytes outside UTF-8 are surrogates."""
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _milliseconds(number: float | None) -> int | None:
    return None if number is None else int(number)
