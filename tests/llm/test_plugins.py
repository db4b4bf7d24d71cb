"""The three plugins as Kong runs them: the real entry files, the real PDK object, a real Redis."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kong_plugins.llm import node
from kong_plugins.llm.keys import issue_key, key_digest
from kong_plugins.llm.release import Limit, Scope
from tests.llm.cast import CREDENTIAL_KEY, PROVIDER_KEY
from tests.llm.gateway import PEPPER, Gateway, body, completion, now_ms
from tests.llm.kong import PLUGINS, KongRequest, plugin
from tests.llm.waiters import end
from tests.servers import eventually

TEAM = Scope(kind="team", subject=None)
ENTRY_FILES = sorted(PLUGINS.glob("llm-*.py"))
CACHED = (node.settings, node.store, node.authenticator, node.admission, node.observer, node.outbox, node.marks)


@pytest.fixture
def plugins(gateway: Gateway, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Key-auth and rate-limit of one node, in the order in which Kong runs them."""
    monkeypatch.setenv("REDIS_URL", redis_address)
    monkeypatch.setenv("BURSAR_REDIS_TIMEOUT_MS", "5000")
    monkeypatch.setenv("BURSAR_KEY_PEPPER", PEPPER)
    monkeypatch.setenv("BURSAR_CREDENTIAL_KEY", CREDENTIAL_KEY)
    for made_once in CACHED:
        made_once.cache_clear()
    yield [
        plugin("llm-key-auth", protocol="openai_chat"),
        plugin("llm-rate-limit", protocol="openai_chat", answers="calls"),
    ]
    for name in ("llm-rate-limit", "llm-token-meter"):
        node.outbox(name).close()
    node.store().close()
    for made_once in CACHED:
        made_once.cache_clear()


def access(plugins: list[Any], request: KongRequest) -> KongRequest:
    for each in plugins:
        request.run(each, "access")
    return request


def granted_call(request: KongRequest, data: bytes) -> dict[str, Any]:
    """What the guard leaves behind for the meter, as it comes out of Lua."""
    return {
        "meter": request.shared["llm_grant"]["meter"],
        "applied": True,
        "connected": True,
        "source": "service",
        "status": 200,
        "head": data[:4096].decode("utf-8", "surrogateescape"),
        "tail": data[-16384:].decode("utf-8", "surrogateescape"),
        "bytes": len(data),
        "events": 0,
        "complete": True,
        "ended_at_deadline": False,
        "latency_ms": 120.0,
        "content_type": "application/json",
        "content_encoding": "",
        "headers": {},
    }


def test_a_call_goes_through_all_three_plugins(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(), authorization=f"Bearer {gateway.key}", x_user_id="alice"))

    assert request.exit is None
    grant = request.shared["llm_grant"]
    assert grant["set_headers"]["authorization"] == f"Bearer {PROVIDER_KEY}"
    request.shared["llm_call"] = granted_call(request, completion())
    request.run(plugin("llm-token-meter"), "log")

    [event] = gateway.events()
    assert (event.kind, event.quality, event.request_id, event.user) == ("posted", "exact", grant["id"], "alice")
    assert (event.latency_ms, event.first_token_ms) == (120, None)


def test_a_deployment_that_fails_is_marked_and_a_refused_credential_is_in_kongs_log(
    plugins: list[Any], gateway: Gateway
) -> None:
    meter = plugin("llm-token-meter")
    failures: list[tuple[int, dict[str, str]]] = [
        (429, {"kind": "busy", "retry_after": "7", "retry_after_ms": ""}),
        (401, {"kind": "refused", "retry_after": "", "retry_after_ms": ""}),
    ]
    logged = []
    for status, failure in failures:
        request = access(plugins, KongRequest(body(), authorization=f"Bearer {gateway.key}"))
        request.shared["llm_call"] = granted_call(request, b"{}") | {"status": status, "failure": failure}
        request.run(meter, "log")
        logged.append(request.logged)

    mark = node.marks().all(gateway.organization)["mini-at-openai"]
    assert (mark.failures, mark.status) == (2, 401)
    assert logged[0] == []
    [line] = logged[1]
    assert "openai refuses the credential of the deployment mini-at-openai (401)" in line
    assert PROVIDER_KEY not in line


def test_each_handler_asks_kong_once_and_answers_once(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(), authorization=f"Bearer {gateway.key}"))
    request.run(plugin("llm-token-meter"), "log")

    assert request.calls == [
        "kong.request.get_headers",
        "kong.ctx.shared.set",
        "kong.client.authenticate",
        "kong.ctx.shared.get",
        "kong.request.get_raw_body",
        "kong.ctx.shared.set",
        "kong.ctx.shared.get",
    ]


def test_the_event_says_which_of_the_keys_secrets_was_shown(plugins: list[Any], gateway: Gateway) -> None:
    record, former = gateway.new_key()
    _, newest = issue_key(record.id)
    gateway.new_key(
        id=record.id,
        version=2,
        digest=key_digest(newest, PEPPER),
        generation=2,
        former_digest=record.digest,
        former_until_ms=now_ms() + 60_000,
    )

    for key in (former, newest):
        request = access(plugins, KongRequest(body(), x_api_key=key))
        request.shared["llm_call"] = granted_call(request, completion())
        request.run(plugin("llm-token-meter"), "log")

    assert [(event.key, event.key_generation) for event in gateway.events()] == [(record.id, 1), (record.id, 2)]


def test_a_restricted_key_costs_one_question_for_each_kind_of_rule(plugins: list[Any], gateway: Gateway) -> None:
    _, key = gateway.new_key(networks=("192.0.2.0/24",), routes=("openai-chat-completions",))
    questions = ["kong.client.get_forwarded_ip", "kong.router.get_route"]

    request = access(plugins, KongRequest(body(), x_api_key=key))

    assert request.exit is None
    assert request.calls[1:3] == questions


def test_a_key_is_refused_where_it_may_not_be_used(plugins: list[Any], gateway: Gateway) -> None:
    """What a client claims of its address does not count; what Kong says of it does."""
    _, key = gateway.new_key(networks=("10.0.0.0/8",), routes=("openai-chat-completions",))
    elsewhere = KongRequest(body(), x_api_key=key, x_forwarded_for="10.0.0.1", x_real_ip="10.0.0.1")
    nameless, nowhere = KongRequest(body(), x_api_key=key), KongRequest(body(), x_api_key=key)
    nameless.address = nowhere.address = "10.0.0.1"
    nameless.route, nowhere.route = {"id": "0b5e0a4e"}, None

    for request, code in (
        (elsewhere, "network_not_allowed"),
        (nameless, "route_not_allowed"),
        (nowhere, "route_not_allowed"),
    ):
        access(plugins, request)
        assert request.exit is not None
        status, answer, headers = request.exit
        assert (status, answer["error"]["code"], headers["x-should-retry"]) == (403, code, "false")
        assert request.shared == {}


def test_kong_is_told_the_team_and_the_key(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(), x_api_key=gateway.key))

    team, key = request.authenticated
    assert (team["username"], team["custom_id"]) == ("search", f"{gateway.organization}/search")
    assert key == {"id": gateway.key_record.id}


def test_a_request_without_a_key_ends_at_the_first_plugin(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body()))

    assert request.exit is not None
    status, error, headers = request.exit
    assert (status, error["error"]["code"]) == (401, "invalid_api_key")
    assert headers == {"content-type": "application/json", "x-should-retry": "false"}
    assert request.shared == {}


def test_bytes_that_are_no_text_are_refused_and_not_an_accident(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(), authorization="Bearer \udcff\udcfe", x_user_id="\udcff"))

    assert request.exit is not None
    assert request.exit[0] == 401


def test_a_refusal_is_told_in_the_words_of_the_wire_format(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(model="nope"), authorization=f"Bearer {gateway.key}"))

    assert request.exit is not None
    status, error, _ = request.exit
    assert status == 404
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert "llm_grant" not in request.shared


def test_a_body_that_is_too_large_by_its_header_is_not_even_read(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body(), authorization=f"Bearer {gateway.key}", content_length="99999999"))

    assert request.exit is not None
    assert request.exit[0] == 413
    assert "kong.request.get_raw_body" not in request.calls


def test_no_body_is_a_malformed_request(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(b"", authorization=f"Bearer {gateway.key}"))

    assert request.exit is not None
    assert request.exit[0] == 400


def test_without_a_caller_nothing_is_decided(plugins: list[Any], gateway: Gateway) -> None:
    """Kong went on although key-auth could not answer."""
    request = access(plugins[1:], KongRequest(body(), authorization=f"Bearer {gateway.key}"))

    assert request.exit is not None
    status, error, headers = request.exit
    assert (status, error["error"]["code"], headers["retry-after"]) == (503, "policy_unavailable", "1")


def test_a_store_that_is_away_is_told_to_the_operator_and_not_to_the_client(
    plugins: list[Any], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    for made_once in CACHED:
        made_once.cache_clear()

    request = access(plugins, KongRequest(body(), authorization=f"Bearer {gateway.key}"))

    assert request.exit is not None
    status, error, headers = request.exit
    assert (status, headers["retry-after"]) == (503, "1")
    assert "127.0.0.1" not in error["error"]["message"]
    [line] = request.logged
    assert "127.0.0.1:1" in line


def test_a_request_without_a_grant_is_not_metered(plugins: list[Any], gateway: Gateway) -> None:
    request = access(plugins, KongRequest(body()))
    request.run(plugin("llm-token-meter"), "log")

    assert gateway.events() == []


class Gone(dict[str, Any]):
    """What a request shares, while its client leaves before the grant is there."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "llm_grant":
            raise SystemExit
        super().__setitem__(name, value)


def test_a_grant_that_nobody_takes_is_given_back(plugins: list[Any], gateway: Gateway) -> None:
    request = KongRequest(body(), authorization=f"Bearer {gateway.key}")
    request.shared = Gone()

    with pytest.raises(SystemExit):
        access(plugins, request)

    [voided] = gateway.events()
    assert (voided.kind, voided.outcome) == ("voided", "not_sent")
    assert gateway.store.open_holds(gateway.organization) == 0


def test_a_call_that_waits_speaks_to_kong_before_each_attempt(plugins: list[Any], gateway: Gateway) -> None:
    slot = Limit(id="slot", scope=TEAM, unit="concurrency", amount=1, window_ms=60_000, queue_ms=60_000)
    gateway.publish(limits=(slot,))
    first = gateway.admit()
    request = KongRequest(body(), authorization=f"Bearer {gateway.key}")
    waiting = threading.Thread(target=access, args=(plugins, request))
    waiting.start()

    eventually(lambda: request.calls.count("kong.ctx.shared.get") >= 3, "it waits, and speaks to Kong")
    end(gateway, first)
    waiting.join()

    assert int(request.shared["llm_grant"]["response_headers"]["x-bursar-queued-ms"]) > 0
    assert request.exit is None


def test_what_lies_in_the_providers_account_is_read_where_the_route_says_so(
    plugins: list[Any], gateway: Gateway
) -> None:
    stored = body(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}])
    owns = plugin("llm-rate-limit", protocol="openai_chat", answers="calls", stored_context=True)

    refused = access(plugins, KongRequest(stored, authorization=f"Bearer {gateway.key}"))
    admitted = access([plugins[0], owns], KongRequest(stored, authorization=f"Bearer {gateway.key}"))

    assert refused.exit is not None
    assert refused.exit[0] == 400
    assert "llm_grant" in admitted.shared


@pytest.mark.parametrize("file", ENTRY_FILES, ids=lambda file: file.stem)
def test_an_entry_file_is_thin_and_safe_for_kongs_loader(file: Any) -> None:
    """It imports the core only, and has no phase that would buffer streams or run where Kong cannot refuse."""
    tree = ast.parse(file.read_text())
    imported = {name.module for name in ast.walk(tree) if isinstance(name, ast.ImportFrom)}
    imported |= {alias.name for name in ast.walk(tree) if isinstance(name, ast.Import) for alias in name.names}
    [handlers] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {node.name for node in handlers.body if isinstance(node, ast.FunctionDef)}

    assert all(name is not None and name.startswith("kong_plugins.llm") for name in imported)
    assert methods in ({"__init__", "access"}, {"__init__", "log"})
    assert not handlers.decorator_list
    assert len(file.read_text().splitlines()) <= 50


def test_these_three_are_all_that_kongs_loader_finds() -> None:
    assert sorted(PLUGINS.glob("*.py")) == ENTRY_FILES
    assert [file.stem for file in ENTRY_FILES] == ["llm-key-auth", "llm-rate-limit", "llm-token-meter"]
