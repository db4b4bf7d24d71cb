"""The PDK over an exchange: what each function says and does, without a server around it."""

from __future__ import annotations

from typing import Any

import pytest

from minikong import pdk, phase
from minikong.declarative import check_declaration
from minikong.errors import LuaFault
from minikong.exchange import Exchange, Incoming, Target
from minikong.headers import Headers
from minikong.plan import Plan
from minikong.router import Router

_DOCUMENT = {
    "_format_version": "3.0",
    "services": [{"name": "s", "host": "h", "routes": [{"name": "r", "paths": [r"~/v1/(?<kind>\w+)"], "tags": ["t"]}]}],
}


def exchange(
    target: str = "/v1/chat?a=1&a=2&b&c=%20x", *, body: bytes = b"", phase_now: int = phase.ACCESS, **headers: str
) -> Exchange:
    path, _, query = target.partition("?")
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "Api:80", **headers}.items()]
    incoming = Incoming("POST", path, query, "1.1", ("10.0.0.1", 5000), 8000, Headers(lines), body)
    made = Exchange(incoming, Plan([]), body_buffer_bytes=100)
    declaration = check_declaration(_DOCUMENT)
    services = {service.id: service for service in declaration.services}
    made.match = Router(declaration.routes, services).match("POST", path, 8000, incoming.headers)
    made.target = Target("http", "h", 80, path, "", "POST", query)
    made.phase = phase_now
    return made


def call(name: str, made: Exchange, *arguments: Any) -> Any:
    return pdk.call(f"kong.{name}", made, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("request.get_method", (), b"POST"),
        ("request.get_scheme", (), b"http"),
        ("request.get_host", (), b"api"),
        ("request.get_port", (), 8000),
        ("request.get_http_version", (), 1.1),
        ("request.get_raw_path", (), b"/v1/%63hat"),
        ("request.get_path", (), b"/v1/chat"),
        ("request.get_path_with_query", (), b"/v1/%63hat?a=1&a=2&b&c=%20x"),
        ("request.get_raw_query", (), b"a=1&a=2&b&c=%20x"),
        ("request.get_query", (), {b"a": [b"1", b"2"], b"b": True, b"c": b" x"}),
        ("request.get_query", (1,), {b"a": b"1"}),
        ("request.get_query_arg", (b"a",), b"1"),
        ("request.get_header", (b"HOST",), b"Api:80"),
        ("request.get_header", (b"none",), None),
        ("request.get_uri_captures", (), {b"named": {b"kind": b"chat"}, b"unnamed": [b"chat"]}),
        ("request.get_forwarded_prefix", (), b"/v1/chat"),
        ("client.get_ip", (), b"10.0.0.1"),
        ("client.get_port", (), 5000),
        ("ip.is_trusted", (b"10.0.0.1",), False),
        ("nginx.get_var", (b"http_host",), b"Api:80"),
        ("nginx.get_var", (b"request_method",), b"POST"),
        ("nginx.get_var", (b"no_such_thing",), None),
        ("service.set_upstream", (b"pool",), (None, b"could not find an Upstream named 'pool'")),
    ],
)
def test_what_it_tells_of_a_request(name: str, arguments: tuple[Any, ...], expected: object) -> None:
    made = exchange("/v1/%63hat?a=1&a=2&b&c=%20x")
    assert call(name, made, *arguments) == expected


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json; charset=utf-8", b'{"a": [1, null]}', ({b"a": [1, None]}, None, b"application/json")),
        ("application/json", b"7", (None, b"invalid json body", b"application/json")),
        ("application/json", b"{", (None, b"invalid json body", b"application/json")),
        (
            "application/x-www-form-urlencoded",
            b"a=1&b=x+y",
            ({b"a": b"1", b"b": b"x y"}, None, b"application/x-www-form-urlencoded"),
        ),
        ("text/plain", b"x", (None, b"unsupported content type 'text/plain'", b"text/plain")),
    ],
)
def test_a_body_is_parsed_by_its_type(content_type: str, body: bytes, expected: object) -> None:
    assert call("request.get_body", exchange(body=body, content_type=content_type)) == expected


def test_a_route_and_a_service_are_tables_that_refer_to_each_other() -> None:
    made = exchange()
    route, service = call("router.get_route", made), call("router.get_service", made)
    assert route[b"name"] == b"r"
    assert route[b"service"] == {b"id": service[b"id"]}
    assert service[b"host"] == b"h"


def test_a_consumer_may_be_any_table_but_not_nothing() -> None:
    made = exchange()
    assert call("client.authenticate", made, {b"id": b"c"}, None) is None
    assert call("client.get_consumer", made) == {b"id": b"c"}
    for arguments in ((), (b"c",)):
        with pytest.raises(LuaFault):
            call("client.authenticate", made, *arguments)


def test_setters_change_the_target_and_the_headers_that_others_see() -> None:
    made = exchange(accept="a")
    call("service.set_target", made, b"10.0.0.2", 9000)
    call("service.request.set_scheme", made, b"https")
    call("service.request.set_path", made, b"/with space")
    call("service.request.set_method", made, b"PUT")
    call("service.request.set_query", made, {b"b": [b"2", True], b"a": b"x y"})
    call("service.set_timeouts", made, 1, 2, 3)
    call("service.request.add_header", made, b"Accept", b"b")
    call("service.request.set_header", made, b"X-Empty", b"")
    assert made.target == Target(
        scheme="https",
        host="10.0.0.2",
        port=9000,
        path="/with%20space",
        host_header="10.0.0.2",
        method="PUT",
        query="a=x+y&b=2&b=true",
        connect_timeout_ms=1,
        read_timeout_ms=3,
    )
    assert call("request.get_headers", made)[b"accept"] == [b"a", b"b"]
    assert call("request.get_header", made, b"x-empty") == b" "


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("request.get_header", (7,)),
        ("request.get_headers", (0,)),
        ("request.get_headers", (1001,)),
        ("service.set_target", (b"h", 80.5)),
        ("service.set_target", (b"h", 70000)),
        ("service.set_retries", (3,)),
        ("service.request.set_scheme", (b"ftp",)),
        ("service.request.set_method", (b"BREW",)),
        ("service.request.set_header", (b"x", None)),
        ("service.request.set_header", (b"x", [b"a", 1])),
        ("service.request.set_raw_body", ([],)),
        ("response.set_status", (99,)),
        ("response.exit", (b"200",)),
        ("response.exit", (200, True)),
        ("response.exit", (200, b"", b"headers")),
        ("log.set_serialize_value", (b"k", 1, {b"mode": b"odd"})),
    ],
)
def test_an_argument_that_kong_refuses_is_refused(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(LuaFault):
        call(name, exchange(), *arguments)


@pytest.mark.parametrize(
    ("name", "phase_now"),
    [
        ("response.get_status", phase.ACCESS),
        ("service.request.set_path", phase.HEADER_FILTER),
        ("response.set_header", phase.BODY_FILTER),
        ("request.get_raw_body", phase.LOG),
        ("request.get_method", phase.TIMER),
        ("client.get_ip", phase.TIMER),
        ("nginx.get_var", phase.TIMER),
        ("response.exit", phase.TIMER),
    ],
)
def test_each_function_answers_only_in_its_phases(name: str, phase_now: int) -> None:
    with pytest.raises(LuaFault, match=r"cannot be called|disabled"):
        call(name, exchange(phase_now=phase_now))


@pytest.mark.parametrize(
    ("unexpected", "exited", "proxied", "source"),
    [
        (True, True, True, b"error"),
        (False, True, True, b"exit"),
        (False, False, True, b"service"),
        (False, False, False, b"error"),
    ],
)
def test_the_source_of_an_answer(unexpected: bool, exited: bool, proxied: bool, source: bytes) -> None:
    made = exchange(phase_now=phase.LOG)
    made.unexpected, made.exited, made.proxied = unexpected, exited, proxied
    assert call("response.get_source", made) == source


def test_values_set_for_the_log_replace_add_or_set() -> None:
    made = exchange(phase_now=phase.LOG)
    for key, value, mode in (
        (b"ai.usage.tokens", 3, b"set"),
        (b"ai.usage.tokens", 4, b"add"),
        (b"ai.usage.cost", 5, b"add"),
        (b"request.method", b"HIDDEN", b"replace"),
        (b"none.of.this", 1, b"replace"),
    ):
        call("log.set_serialize_value", made, key, value, {b"mode": mode})
    record = call("log.serialize", made)
    assert record[b"ai"] == {b"usage": {b"tokens": 3, b"cost": 5}}
    assert record[b"request"][b"method"] == b"HIDDEN"
    assert b"none" not in record
