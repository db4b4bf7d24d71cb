"""Plugins in Lua: the same PDK, run in the loop, with nginx's rules for filters and for errors."""

from __future__ import annotations

import http.client
import zlib

import pytest

from tests.minikong.gateway import Gateway, lua
from tests.minikong.upstream import Upstream


def test_a_plugin_aims_the_request_at_another_target(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        lua(
            "first",
            access=f"""
local kong = ...
kong.service.set_target("127.0.0.1", {upstream.port})
kong.service.request.set_scheme("http")
kong.service.request.set_path("/elsewhere/echo")
kong.service.request.set_raw_query("a=1&b=%20")
kong.service.request.set_headers({{ ["x-lua"] = "yes", host = "named.example" }})
kong.service.request.clear_header("x-secret")
kong.service.request.set_raw_body("from lua")
""",
        )
    )
    answer = gateway.get("/anything?c=3", method="POST", body=b"from the client", headers={"x-secret": "s"})
    assert answer.status == 200
    assert upstream.last.target == "/elsewhere/echo?a=1&b=%20"
    assert upstream.last.body == b"from lua"
    assert upstream.last.header("host") == "named.example"
    assert upstream.last.header("x-lua") == "yes"
    assert upstream.last.header("x-secret") is None


def test_a_target_of_its_own_is_sent_as_the_host(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(lua("first", access=f"(...).service.set_target('127.0.0.1', {upstream.port})"))
    assert gateway.get("/echo").status == 200
    assert upstream.last.header("host") == "127.0.0.1"


def test_exit_never_returns_not_even_through_pcall(gateway: Gateway, upstream: Upstream) -> None:
    before = len(upstream.received)
    gateway.serve(
        lua(
            "first",
            access="""
local kong = ...
pcall(function() kong.response.exit(503, '{"error":1}', { ["retry-after"] = 1 }) end)
kong.response.exit(200, "never")
""",
            header_filter="(...).response.set_header('x-source', (...).response.get_source())",
        )
    )
    answer = gateway.get("/echo")
    assert (answer.status, answer.body) == (503, b'{"error":1}')
    assert answer.header("retry-after") == "1"
    assert answer.header("x-source") == "exit"
    assert len(upstream.received) == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("local kong = ...; kong.response.get_shoe_size()", "attempt to call field 'get_shoe_size'"),
        ("local kong = ...; kong.vault.get('x')", "attempt to index field 'vault'"),
        ("local _, ngx = ...; ngx.sleep(1)", "attempt to call field 'sleep'"),
        ("local kong = ...; kong.service.set_target('h')", "port must be an integer"),
        ("local kong = ...; kong.response.get_status()", "cannot be called in access phase"),
        ("error('on purpose')", "on purpose"),
    ],
)
def test_an_error_in_access_makes_the_answer_500(gateway: Gateway, code: str, reason: str) -> None:
    gateway.serve(lua("first", access=code))
    said = gateway.said()
    answer = gateway.get("/echo")
    assert (answer.status, answer.json["message"]) == (500, "An unexpected error occurred")
    gateway.process.wait_for_line(reason, said)


def test_headers_are_found_under_any_spelling(gateway: Gateway) -> None:
    gateway.serve(
        lua(
            "first",
            access="""
local kong = ...
local headers = kong.request.get_headers(1000)
local found = headers["X-Some-Name"] .. headers.x_some_name .. #headers["x-twice"]
kong.response.exit(200, found .. tostring(headers["x-none"]))
""",
        )
    )
    answer = gateway.get("/echo", headers=[("x-some-name", "v"), ("x-twice", "1"), ("x-twice", "2")])
    assert answer.body == b"vv2nil"


def test_a_body_beyond_the_buffer_is_nil_unless_a_size_is_named(gateway: Gateway) -> None:
    gateway.serve(
        lua(
            "first",
            access="""
local kong, ngx = ...
local none, reason = kong.request.get_raw_body()
local some = kong.request.get_raw_body(0)
kong.response.exit(200, tostring(none) .. " " .. reason:match("^[%w ]+") .. " " .. #some .. " " .. ngx.crc32_long(some))
""",
        )
    )
    body = b"x" * 300_000
    answer = gateway.get("/echo", method="POST", body=body)
    assert answer.body == b"nil request body did not fit into client body buffer 300000 %d" % zlib.crc32(body)


def test_a_filter_sees_each_chunk_and_an_empty_last_one(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        lua(
            "first",
            body_filter="""
local kong, ngx = ...
local shared = kong.ctx.shared
shared.seen = (shared.seen or "") .. "<" .. ngx.arg[1] .. (ngx.arg[2] and "|last>" or ">")
""",
            log="local kong = ...; kong.log.notice('saw ', kong.ctx.shared.seen)",
        )
    )
    said = gateway.said()
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        head = call.head()
        for piece in (b"one", b"two"):
            stream.send(piece)
            assert head.read(3) == piece
        stream.finish()
        assert head.read() == b""
    gateway.process.wait_for_line("saw <one><two><|last>", said)


def test_a_filter_changes_and_drops_chunks(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        lua(
            "first",
            body_filter="""
local _, ngx = ...
local chunk, is_last = ngx.arg[1], ngx.arg[2]
ngx.arg[1] = chunk ~= "drop" and (is_last and "end" or chunk:upper()) or nil
""",
        )
    )
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        head = call.head()
        stream.send(b"one ")
        assert head.read(4) == b"ONE "
        stream.send(b"drop")
        stream.finish()
        assert head.read() == b"end"


def test_a_filter_that_says_last_ends_the_answer_while_the_upstream_goes_on(
    gateway: Gateway, upstream: Upstream
) -> None:
    gateway.serve(
        lua(
            "first",
            body_filter="""
local kong, ngx = ...
kong.ctx.shared.calls = (kong.ctx.shared.calls or 0) + 1
ngx.arg[2] = true
""",
            log="local kong = ...; kong.log.notice('calls ', kong.ctx.shared.calls)",
        )
    )
    said = gateway.said()
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        stream.send(b"all there is")
        assert call.answer().body == b"all there is"
        stream.send(b"unheard")
        assert not any("calls" in line for line in gateway.process.lines[said:])
        stream.finish()
    gateway.process.wait_for_line("calls 1,", said)


def test_an_error_in_a_body_filter_ends_both_connections(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(
        lua(
            "first",
            body_filter="local _, ngx = ...; if ngx.arg[1] == 'two' then error('over') end",
            log="local kong = ...; kong.log.notice('logged ', kong.response.get_status(), kong.response.get_source())",
        )
    )
    said = gateway.said()
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        head = call.head()
        stream.send(b"one")
        assert head.read(3) == b"one"
        stream.send(b"two")
        with pytest.raises(http.client.IncompleteRead):
            head.read()
        assert stream.wait_until_cut_off()
    gateway.process.wait_for_line("failed to run body_filter_by_lua.*over", said)
    gateway.process.wait_for_line("logged 200service", said)


def test_an_error_in_log_ends_the_phase_for_the_plugins_after_it(gateway: Gateway) -> None:
    gateway.serve(lua("first", log="error('in log')"), lua("last", log="(...).log.notice('never')"))
    said = gateway.said()
    assert gateway.get("/echo").status == 200
    gateway.process.wait_for_line("failed to run log_by_lua.*in log", said)
    assert not any("never" in line for line in gateway.process.lines[said:])


def test_nginx_variables_tell_whether_the_upstream_was_reached(gateway: Gateway, upstream: Upstream) -> None:
    tell = """
local kong, ngx = ...
kong.log.notice("told ", ngx.var.upstream_status, " ", (ngx.var.upstream_bytes_sent or "none"):gsub("[1-9]%d*", "some"))
"""
    gateway.serve(lua("first", log=tell))
    said = gateway.said()
    gateway.get("/echo")
    gateway.process.wait_for_line("told 200 some", said)
    gateway.serve(lua("first", access="(...).service.set_target('127.0.0.1', 1)", log=tell))
    said = gateway.said()
    assert gateway.get("/echo").status == 502
    gateway.process.wait_for_line("told 502 0", said)
    gateway.serve(lua("first", access="(...).response.exit(400)", log=tell))
    said = gateway.said()
    gateway.get("/echo")
    gateway.process.wait_for_line("told nil none", said)
