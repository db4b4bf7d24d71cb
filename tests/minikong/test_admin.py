"""The Admin API: what it tells, and a new configuration while requests are under way."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.minikong.gateway import Gateway, lua
from tests.minikong.upstream import Upstream


def test_it_says_what_it_is_and_what_it_can_run(gateway: Gateway) -> None:
    gateway.serve(lua("first"))
    about = gateway.admin("/").json
    assert (about["edition"], about["version"]) == ("minikong", "3.9.3")
    assert about["plugins"]["available_on_server"]["python-first"] == {"version": "1.0.0", "priority": 1000}
    assert about["plugins"]["enabled_in_cluster"] == ["lua-first"]


def test_a_text_is_taken_once_and_then_known_by_its_hash(gateway: Gateway) -> None:
    text = '_format_version: "3.0"\nservices:\n- {name: s, host: example.invalid, routes: [{name: r, paths: [/]}]}\n'
    for body in (text.encode(), json.dumps({"config": text}).encode()):
        gateway.serve()
        first = gateway.admin("/config?check_hash=1", method="POST", body=body)
        assert first.status == 201
        assert [service["name"] for service in first.json["services"].values()] == ["s"]
        expected = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        assert gateway.admin("/status").json["configuration_hash"] == expected
        again = gateway.admin("/config?check_hash=1", method="POST", body=body)
        assert (again.status, again.body) == (304, b"")
        assert gateway.admin("/config", method="POST", body=body).status == 201


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a declarative configuration"),
        ("- [", "neither YAML nor JSON"),
        ('{"services": []}', "missing required field `_format_version`"),
        ('{"_format_version": "3.0", "upstreams": []}', "unknown field `upstreams`"),
        ('{"_format_version": "3.0", "services": [{"name": "s", "hots": "h"}]}', "unknown field `hots`"),
        ('{"_format_version": "3.0", "plugins": [{"name": "nope"}]}', "plugin 'nope' not enabled"),
        (
            '{"_format_version": "3.0", "plugins": [{"name": "lua-first", "config": {"acces": ""}}]}',
            "unknown field acces",
        ),
        (
            '{"_format_version": "3.0", "plugins": [{"name": "python-first", "config": {"access": 7}}]}',
            "config.access: expected string",
        ),
    ],
)
def test_what_is_wrong_is_refused_as_a_whole_and_named(gateway: Gateway, text: str, reason: str) -> None:
    gateway.serve()
    answer = gateway.admin("/config", method="POST", body=text.encode())
    assert answer.status == 400
    assert reason in answer.json["message"]
    assert gateway.get("/echo").status == 200


def test_a_new_configuration_leaves_open_streams_alone(gateway: Gateway, upstream: Upstream) -> None:
    shout = lua("first", body_filter="local _, ngx = ...; ngx.arg[1] = ngx.arg[1]:upper()")
    gateway.serve(shout)
    with gateway.call("/stream") as call:
        stream = upstream.next_stream()
        head = call.head()
        stream.send(b"one")
        assert head.read(3) == b"ONE"
        gateway.serve()
        assert gateway.get("/echo").body == b"echo"
        stream.send(b"two")
        stream.finish()
        assert head.read() == b"TWO"


def test_the_most_specific_config_of_a_plugin_counts(gateway: Gateway, upstream: Upstream) -> None:
    def say(scope: str) -> dict[str, object]:
        return lua("first", header_filter=f"(...).response.set_header('x-scope', '{scope}')")

    def shown(path: str) -> str | None:
        return gateway.get(path).header("x-scope")

    service = {
        "name": "s",
        "url": f"http://127.0.0.1:{upstream.port}",
        "plugins": [say("service")],
        "routes": [
            {"name": "own", "paths": ["/own"], "plugins": [say("route")]},
            {"name": "off", "paths": ["/off"], "plugins": [{**say("route"), "enabled": False}]},
        ],
    }
    other = {**service, "name": "t", "plugins": [], "routes": [{"name": "plain", "paths": ["/plain"]}]}
    gateway.post({"_format_version": "3.0", "services": [service, other], "plugins": [say("global")]})
    assert [shown(f"/{name}/echo") for name in ("own", "off", "plain", "none")] == [
        "route",
        "service",
        "global",
        "global",
    ]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/services", 404), ("DELETE", "/config", 405)])
def test_what_it_does_not_serve(gateway: Gateway, method: str, path: str, status: int) -> None:
    assert gateway.admin(path, method=method).status == status
