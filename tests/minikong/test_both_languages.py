"""Python and Lua on one request: one order, one kong.ctx.shared."""

from __future__ import annotations

from tests.minikong.gateway import Gateway, lua, python
from tests.minikong.upstream import Upstream


def test_plugins_run_by_priority_whatever_their_language(gateway: Gateway, upstream: Upstream) -> None:
    add_lua = "(...).service.request.add_header('x-order', '{name}')"
    add_python = "kong.service.request.add_header('x-order', '{name}')"
    gateway.serve(
        lua("last", access=add_lua.format(name="lua 100")),
        python("last", access=add_python.format(name="python 500")),
        lua("first", access=add_lua.format(name="lua 900")),
        python("first", access=add_python.format(name="python 1000")),
    )
    assert gateway.get("/echo").status == 200
    order = [value for name, value in upstream.last.headers if name == "x-order"]
    assert order == ["python 1000", "lua 900", "python 500", "lua 100"]


def test_what_one_language_shares_the_other_reads(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        python("first", access="kong.ctx.shared.set('grant', {'id': 'g1', 'list': [[0, 3, 'ä']], 'none': [], 'n': 5})"),
        lua(
            "first",
            access="""
local kong = ...
local grant = kong.ctx.shared.grant
grant.id = grant.id .. "+"
kong.ctx.shared.tap = { bytes = 0, half = 0.5, empty = {}, pieces = { "a", "\\255" }, yes = true }
kong.service.request.set_header("x-seen", grant.list[1][3] .. #grant.none .. grant.n)
""",
            body_filter="local kong, ngx = ...; local tap = kong.ctx.shared.tap; tap.bytes = tap.bytes + #ngx.arg[1]",
        ),
        python("last", log="kong.log.notice('shared ', str(kong.ctx.shared.get('grant')))"),
        lua("last", log="local kong = ...; kong.log.notice('tapped ', kong.ctx.shared.tap.bytes)"),
    )
    said = gateway.said()
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("x-seen") == "ä".encode().decode("latin-1") + "05"
    gateway.process.wait_for_line("tapped 4", said)
    line = gateway.process.wait_for_line("shared", said)
    assert "'id': 'g1+'" in line
    assert "'list': [[0, 3, 'ä']]" in line
    assert "'none': []" in line


def test_python_reads_a_lua_table_as_json_would_have_it(gateway: Gateway) -> None:
    gateway.serve(
        lua("first", access="(...).ctx.shared.t = { bytes = 1, half = 0.5, empty = {}, list = { 'a', { b = true } } }"),
        python(
            "last",
            access="kong.response.exit(200, {'read': kong.ctx.shared.get('t'), 'none': kong.ctx.shared.get('u')})",
        ),
    )
    read = gateway.get("/echo").json["read"]
    assert read == {"bytes": 1, "half": 0.5, "empty": {}, "list": ["a", {"b": True}]}


def test_a_function_in_the_shared_table_cannot_be_read_from_python(gateway: Gateway) -> None:
    gateway.serve(
        lua("first", access="(...).ctx.shared.f = function() end"),
        python("last", access="kong.ctx.shared.get('f')"),
    )
    assert gateway.get("/echo").status == 500


def test_a_python_refusal_skips_lua_access_but_not_the_filters_and_the_log(gateway: Gateway) -> None:
    gateway.serve(
        python("first", access="kong.ctx.shared.set('why', 'refused'); kong.response.exit(403)"),
        lua(
            "first",
            access="(...).log.notice('never')",
            header_filter="local kong = ...; kong.response.set_header('x-why', kong.ctx.shared.why)",
            log="local kong = ...; kong.log.notice('logged ', kong.ctx.shared.why)",
        ),
    )
    said = gateway.said()
    answer = gateway.get("/echo")
    assert (answer.status, answer.header("x-why")) == (403, "refused")
    gateway.process.wait_for_line("logged refused", said)
    assert not any("never" in line for line in gateway.process.lines[said:])


def test_what_a_plugin_sets_for_the_log_is_in_the_record(gateway: Gateway) -> None:
    gateway.serve(
        lua(
            "first",
            access="(...).log.set_serialize_value('tokens.total', 7)",
            log="(...).log.set_serialize_value('request.headers.x-api-key', 'REDACTED', { mode = 'replace' })",
        ),
        python(
            "last",
            log="""
import json
record = json.loads(kong.log.serialize())
kong.log.notice("recorded ", str(record["tokens"]), " ", str(record["request"]["headers"]))
""",
        ),
    )
    said = gateway.said()
    gateway.get("/echo", headers={"x-api-key": "sk-secret", "authorization": "Bearer b"})
    line = gateway.process.wait_for_line("recorded", said)
    assert "{'total': 7}" in line
    assert "'x-api-key': 'REDACTED'" in line
    assert "'authorization': 'REDACTED'" in line
    assert "secret" not in line
