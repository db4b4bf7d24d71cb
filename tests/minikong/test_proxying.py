"""The way through without plugins: headers both ways, streams, bodies, and the errors of nginx and of the upstream."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.minikong.gateway import Gateway, lua, wait_until
from tests.minikong.upstream import Upstream

_DOCUMENT = "application/json; charset=utf-8"


def test_the_upstream_learns_of_the_client_what_kong_would_tell(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve()
    answer = gateway.get(
        "/some/../echo?a=1",
        headers={
            "host": "api.example:8000",
            "x-forwarded-for": "10.0.0.1",
            "x-forwarded-proto": "https",
            "x-kept": "yes",
            "connection": "close, x-named",
            "x-named": "dropped",
            "te": "trailers",
            "proxy": "bad",
        },
    )
    assert answer.status == 200
    seen = upstream.last
    assert seen.target == "/echo?a=1"
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("x-forwarded-for") == "10.0.0.1, 127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.header("x-forwarded-host") == "api.example"
    assert seen.header("x-forwarded-port") == str(gateway.proxy_port)
    assert seen.header("x-forwarded-path") == "/some/../echo"
    assert seen.header("x-real-ip") == "127.0.0.1"
    assert seen.header("via") == "1.1 minikong/3.9.3"
    assert seen.header("x-kong-request-id") == answer.header("x-kong-request-id")
    assert seen.header("x-kept") == "yes"
    assert not {"x-named", "te", "proxy", "user-agent", "accept"} & {name for name, _ in seen.headers}


def test_the_client_gets_the_answer_with_kongs_own_headers(gateway: Gateway) -> None:
    gateway.serve()
    answer = gateway.get("/echo")
    assert answer.body == b"echo"
    assert answer.header("x-upstream") == "yes"
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert answer.header("x-hop") is None
    assert answer.header("via") == "1.1 minikong/3.9.3"
    assert (answer.header("server") or "").startswith("Python/")
    for name in ("x-kong-upstream-latency", "x-kong-proxy-latency"):
        assert int(answer.header(name) or "none") >= 0
    assert len([name for name, _ in answer.headers if name == "date"]) == 1


def test_preserve_host_sends_the_clients_own_host(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(preserve_host=True)
    gateway.get("/echo", headers={"host": "api.example:8000"})
    assert upstream.last.header("host") == "api.example:8000"


def test_a_route_strips_its_path(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(paths=["/llm"])
    assert gateway.get("/llm/v1/echo").status == 200
    assert upstream.last.target == "/v1/echo"
    assert upstream.last.header("x-forwarded-prefix") == "/llm"
    gateway.serve(paths=["/llm"], strip_path=False)
    gateway.get("/llm/v1/echo")
    assert upstream.last.target == "/llm/v1/echo"


def test_a_request_without_a_route_is_kongs_404(gateway: Gateway) -> None:
    gateway.serve(paths=["/only"])
    answer = gateway.get("/other")
    assert (answer.status, answer.header("content-type")) == (404, _DOCUMENT)
    assert answer.json == {
        "message": "no Route matched with those values",
        "request_id": answer.header("x-kong-request-id"),
    }
    assert answer.header("server") == "minikong/3.9.3"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", _DOCUMENT),
        ("text/html,application/json;q=0.9", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("application/xml;q=0.2, application/json;q=0.1", "application/xml; charset=utf-8"),
        ("image/png", _DOCUMENT),
    ],
)
def test_an_error_comes_in_the_form_that_the_client_accepts(gateway: Gateway, accept: str, content_type: str) -> None:
    gateway.serve(paths=["/only"])
    answer = gateway.get("/other", headers={"accept": accept})
    assert answer.header("content-type") == content_type
    assert b"no Route matched with those values" in answer.body


@pytest.mark.parametrize(
    ("service", "status", "message"),
    [
        ({"url": "http://127.0.0.1:1"}, 502, "An invalid response was received from the upstream server"),
        ({"url": "http://bursar.invalid"}, 503, "name resolution failed"),
    ],
)
def test_an_upstream_that_cannot_be_reached(
    gateway: Gateway, service: dict[str, str], status: int, message: str
) -> None:
    routes = [{"name": "r", "paths": ["/"]}]
    gateway.post({"_format_version": "3.0", "services": [{"name": "s", "routes": routes, **service}]})
    answer = gateway.get("/echo", headers={"accept": "*/*"})
    assert answer.status == status
    assert answer.json["message"] == message


def test_an_upstream_that_is_silent_is_given_up_after_the_read_timeout(gateway: Gateway, upstream: Upstream) -> None:
    service = {"name": "s", "url": f"http://127.0.0.1:{upstream.port}", "read_timeout": 200}
    tell = lua("first", header_filter="(...).response.set_header('x-source', (...).response.get_source())")
    gateway.post(
        {
            "_format_version": "3.0",
            "services": [{**service, "routes": [{"name": "r", "paths": ["/"], "plugins": [tell]}]}],
        }
    )
    answer = gateway.get("/hang", headers={"accept": "*/*"})
    assert answer.status == 504
    assert answer.json["message"] == "The upstream server is timing out"
    assert answer.header("x-source") == "error"


def test_half_an_answer_is_cut_off_for_the_client_too(gateway: Gateway) -> None:
    gateway.serve()
    with gateway.call("/cut") as call, pytest.raises(http.client.IncompleteRead):
        call.head().read()


def test_a_first_chunk_is_there_before_the_upstream_has_a_second_one(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve()
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        head = call.head()
        for piece in (b"data: one\n\n", b"data: two\n\n"):
            stream.send(piece)
            assert head.read(len(piece)) == piece
        stream.finish()
        assert head.read() == b""


def test_a_client_that_leaves_ends_the_call_upstream_and_no_filter_sees_an_end(
    gateway: Gateway, upstream: Upstream
) -> None:
    gateway.serve(
        lua(
            "first",
            body_filter="""
local kong, ngx = ...
kong.ctx.shared.seen = (kong.ctx.shared.seen or "") .. "<" .. ngx.arg[1] .. (ngx.arg[2] and "|last>" or ">")
""",
            log="local kong = ...; kong.log.notice('left ', kong.response.get_status(), ' ', kong.ctx.shared.seen)",
        )
    )
    said = gateway.said()
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        stream.send(b"one")
        assert call.head().read(3) == b"one"
    assert stream.wait_until_cut_off()
    gateway.process.wait_for_line("left 200 <one>,", said)


def test_a_client_that_leaves_before_the_answer_is_a_499(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve(lua("first", log="(...).log.notice('left ', (...).response.get_status())"))
    said, before = gateway.said(), len(upstream.received)
    with gateway.call("/hang"):
        wait_until(lambda: len(upstream.received) > before)
    gateway.process.wait_for_line("left 499", said)


def test_a_large_body_passes_unchanged_both_ways(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve()
    body = bytes(range(256)) * 1200
    assert gateway.get("/echo", method="POST", body=body).status == 200
    assert upstream.last.body == body


def test_a_chunked_body_is_buffered_and_sent_with_its_length(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.proxy_port, timeout=10)
    connection.request("POST", "/echo", body=iter([b"one, ", b"two"]), encode_chunked=True)
    assert connection.getresponse().read() == b"echo"
    connection.close()
    assert upstream.last.body == b"one, two"
    assert upstream.last.header("content-length") == "8"


@pytest.mark.parametrize("length", [1024**2 + 1, 3 * 1024**2])
def test_a_body_beyond_the_limit_is_413_before_any_plugin_of_the_route(gateway: Gateway, length: int) -> None:
    gateway.serve(lua("first", access="(...).response.exit(200)"))
    answer = gateway.get("/echo", method="POST", body=b"x" * length, headers={"accept": "*/*"})
    assert (answer.status, answer.json["message"]) == (413, "Payload too large")
    assert gateway.get("/echo", method="POST", body=b"x" * 1024**2).status == 200


def test_an_answer_to_head_has_no_body_and_no_body_filter(gateway: Gateway) -> None:
    gateway.serve(lua("first", body_filter="error('not for HEAD')"))
    answer = gateway.get("/echo", method="HEAD")
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "4")


def test_many_calls_at_once_do_not_mix(gateway: Gateway) -> None:
    gateway.serve(
        lua(
            "first",
            access="local kong = ...; kong.ctx.shared.mine = kong.request.get_header('x-mine')",
            header_filter="local kong = ...; kong.response.set_header('x-yours', kong.ctx.shared.mine)",
        )
    )
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: gateway.get("/echo", headers={"x-mine": str(number)}), range(200)))
    assert [answer.header("x-yours") for answer in answers] == [str(number) for number in range(200)]


def test_the_target_may_carry_any_escaped_byte(gateway: Gateway, upstream: Upstream) -> None:
    gateway.serve()
    answer = gateway.get("/%7Euser/%2f/a%20b/echo?q=%F0%9F%8D%8E&json=%7B%22a%22%3A1%7D")
    assert answer.status == 200
    assert upstream.last.target == "/~user/%2F/a%20b/echo?q=%F0%9F%8D%8E&json=%7B%22a%22%3A1%7D"
