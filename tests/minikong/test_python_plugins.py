"""Plugins in a plugin server, over the stock kong-pdk: what they may call, and how Kong fails where they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.minikong.gateway import Gateway, python
from tests.minikong.upstream import Upstream


@pytest.fixture
def own_server(gateway: Gateway) -> Iterator[str]:
    """A plugin server that the test may break; it is killed afterwards, and minikong starts another one."""
    yield "python-first"
    pid = gateway.status_of("python-first")["pid"]
    os.kill(pid, signal.SIGKILL)
    gateway.wait_until_answers("python-first", other_than=pid)


def test_a_plugin_changes_what_goes_upstream_and_what_comes_back(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        python(
            "first",
            access="""
kong.service.request.set_headers({"x-word": config["word"], "x-many": ["a", "b"], "x-number": 7})
kong.service.request.clear_header("x-secret")
kong.service.request.set_raw_body(b"changed")
kong.response.set_header("x-answered", "yes")
""",
        )
    )
    answer = gateway.get("/echo", method="POST", body=b"original", headers={"x-secret": "s"})
    assert answer.status == 200
    assert answer.header("x-answered") == "yes"
    assert upstream.last.body == b"changed"
    assert upstream.last.header("x-word") == "hello"
    assert upstream.last.header("x-number") == "7"
    assert upstream.last.header("x-secret") is None
    assert [value for name, value in upstream.last.headers if name == "x-many"] == ["a", "b"]


def test_every_header_is_a_list_and_repeated_ones_have_all_their_values(gateway: Gateway) -> None:
    gateway.serve(
        python(
            "first",
            access="""
headers = kong.request.get_headers()
first = kong.request.get_header("X-Twice")
kong.response.exit(200, {"once": headers["x-once"], "twice": headers["x-twice"], "first": first})
""",
        )
    )
    answer = gateway.get("/echo", headers=[("X-Once", "1"), ("X-Twice", "a"), ("X-Twice", "b")])
    assert answer.json == {"once": ["1"], "twice": ["a", "b"], "first": "a"}


def test_a_repeated_authorization_header_is_nginx_own_refusal(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(python("first", access="kong.response.exit(401)"))
    before = len(upstream.received)
    answer = gateway.get("/echo", headers=[("authorization", "a"), ("authorization", "b"), ("accept", "*/*")])
    assert answer.status == 400
    assert answer.json["message"] == "Bad request"
    assert len(upstream.received) == before


def test_exit_answers_at_once_and_no_later_access_handler_runs(gateway: Gateway, upstream: Upstream) -> None:
    before, said = len(upstream.received), gateway.said()
    gateway.serve(
        python(
            "first",
            access="kong.response.exit(401, {'error': 'no', 'list': []}, {'x-why': 'because', 'x-twice': ['a', 'b']})",
            log="kong.log.notice('source ', kong.response.get_source())",
        ),
        python("last", access="kong.log.notice('never')", log="kong.log.notice('logged all the same')"),
    )
    answer = gateway.get("/echo")
    assert (answer.status, answer.json) == (401, {"error": "no", "list": {}})
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert answer.header("x-why") == "because"
    assert answer.header("x-kong-response-latency") is not None
    assert answer.header("via") is None
    gateway.process.wait_for_line("source exit", said)
    gateway.process.wait_for_line("logged all the same", said)
    assert not any("never" in line for line in gateway.process.lines[said:])
    assert len(upstream.received) == before


def test_a_handler_that_raises_after_a_call_is_waited_for_and_then_the_request_goes_on(
    gateway: Gateway, upstream: Upstream, own_server: str
) -> None:
    gateway.serve(python("first", access="kong.request.get_method(); raise ValueError"))
    said = gateway.said()
    answer = gateway.get("/echo")
    assert (answer.status, answer.body) == (200, b"echo")
    gateway.process.wait_for_line(r"\[error\] \[python-first\] no data", said)


def test_a_handler_that_raises_at_once_locks_the_stock_server_and_every_request_goes_on_without_it(
    gateway: Gateway, upstream: Upstream, own_server: str
) -> None:
    gateway.serve(python("first", access="raise ValueError"))
    assert gateway.get("/echo").status == 200
    gateway.serve(python("first", access="kong.service.request.set_header('x-late', 'yes')"))
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("x-late") is None


def test_a_header_that_is_no_utf8_makes_the_stock_server_skip_the_request(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(python("first", access="kong.request.get_headers(); kong.response.exit(401)"))
    assert gateway.get("/echo").status == 401
    answer = gateway.get("/echo", headers=[("x-odd", b"\xff\xfe")])
    assert answer.status == 200
    assert upstream.last.header("x-odd") is not None


def test_an_unknown_method_is_logged_and_answers_none(gateway: Gateway) -> None:
    gateway.serve(python("first", access="kong.response.exit(200, str(kong.request.get_shoe_size()))"))
    said = gateway.said()
    assert gateway.get("/echo").body == b"None"
    gateway.process.wait_for_line("could not find pdk method: kong.request.get_shoe_size", said)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("kong.response.get_status()", "cannot be called in access phase"),
        ("kong.log.serialize()", "cannot be called in access phase"),
        ("kong.service.set_target('host', 'eighty')", "port must be an integer"),
        ("kong.service.request.set_path('no-slash')", "path must start with /"),
        ("kong.response.exit(99)", "code must be an integer between 100 and 599"),
        ("kong.service.request.set_headers({'x': {'a': 1}})", "invalid header value"),
        ("kong.client.load_consumer('c')", "minikong has no kong.client.load_consumer, which Kong has"),
    ],
)
def test_a_call_that_raises_in_lua_makes_the_answer_500(gateway: Gateway, code: str, reason: str) -> None:
    gateway.serve(python("first", access=code))
    said = gateway.said()
    answer = gateway.get("/echo")
    assert (answer.status, answer.json["message"]) == (500, "An unexpected error occurred")
    gateway.process.wait_for_line(reason, said)


def test_a_none_among_the_arguments_cuts_off_what_follows(gateway: Gateway) -> None:
    gateway.serve(python("first", access="kong.response.exit(429, None, {'x-lost': 'yes'})"))
    answer = gateway.get("/echo")
    assert (answer.status, answer.body, answer.header("x-lost")) == (429, b"", None)


def test_the_body_is_bytes_and_beyond_the_buffer_it_needs_a_size(gateway: Gateway) -> None:
    gateway.serve(
        python(
            "first",
            access="body = kong.request.get_raw_body(0); kong.response.exit(200, [type(body).__name__, len(body)])",
        )
    )
    assert gateway.get("/echo", method="POST", body=b"\xff" * 10).json == ["bytes", 10]
    assert gateway.get("/echo", method="POST", body=b"\xff" * 300_000).json == ["bytes", 300_000]
    gateway.serve(python("first", access="kong.request.get_raw_body()"))
    assert gateway.get("/echo", method="POST", body=b"x" * 8192).status == 200
    assert gateway.get("/echo", method="POST", body=b"x" * 8193).status == 500


def test_the_log_handler_answers_only_what_a_timer_can(gateway: Gateway) -> None:
    gateway.serve(
        python(
            "first",
            access="kong.ctx.shared.set('kept', {'a': 1})",
            log="""
import json
record = json.loads(kong.log.serialize())
kong.log.notice("told ", kong.response.get_status(), " ", kong.request.get_header("x-one"), " ",
                str(kong.ctx.shared.get("kept")), " ", record["request"]["method"], " ", record["source"])
kong.request.get_method()
kong.log.notice("never")
""",
        )
    )
    said = gateway.said()
    assert gateway.get("/echo", headers={"x-one": "1"}).status == 200
    gateway.process.wait_for_line(r"told 200 1 \{'a': 1\} GET upstream", said)
    gateway.process.wait_for_line("get_method: API disabled in the context of ngx.timer", said)
    assert not any("never" in line for line in gateway.process.lines[said:])


def test_a_new_configuration_starts_new_instances(gateway: Gateway, upstream: Upstream) -> None:
    for word in ("one", "two"):
        gateway.serve(python("first", access="kong.service.request.set_header('x-word', config['word'])", word=word))
        gateway.get("/echo")
        assert upstream.last.header("x-word") == word


def test_rewrite_runs_for_global_plugins_only(gateway: Gateway, upstream: Upstream) -> None:
    shout = "kong.response.set_header('x-rewritten', 'yes')"
    gateway.serve(python("first", rewrite=shout))
    assert gateway.get("/echo").header("x-rewritten") is None
    service = {"name": "s", "url": f"http://127.0.0.1:{upstream.port}", "routes": [{"name": "r", "paths": ["/"]}]}
    gateway.post({"_format_version": "3.0", "services": [service], "plugins": [python("first", rewrite=shout)]})
    assert gateway.get("/echo").header("x-rewritten") == "yes"
