"""Bad input at the doors of a gateway, calls and questions alike: a clear 400, nothing held, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.llm.gateway import BUDGET, HELLO, Gateway, body
from tests.llm.kong import KongRequest, plugin
from tests.llm.node import node_of

_TWO_TO_53: Final = 2**53


def raw(member: str) -> bytes:
    """A small request with one more member, written as it stands."""
    return (json.dumps(HELLO)[:-1] + "," + member + "}").encode()


_MESSAGE: Final = '{"role":"user","content":"Hello"}'
_NOT_JSON: Final = {
    "empty": b"",
    "cut": body()[:-1],
    "trailing": body() + b"x",
    "two": body() + body(),
    "list": b"[" + body() + b"]",
    "null": b"null",
    "string": b'"mini"',
    "utf16": body().decode().encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + body(),
    "latin1": raw('"user":"caf\u00e9"').decode().encode("latin-1"),
    "nul": body() + b"\x00",
    "single-quotes": b"{'model':'mini'}",
    "comment": b"/* */" + body(),
    "nan": raw('"temperature":NaN'),
    "infinity": raw('"temperature":Infinity'),
    "minus-infinity": raw('"temperature":-Infinity'),
    "overflow": raw('"temperature":1e999'),
    "long-number": raw('"seed":' + "9" * 5000),
    "deep-list": raw('"metadata":' + "[" * 10_000 + "]" * 10_000),
    "deep-object": raw('"metadata":' + '{"a":' * 10_000 + "1" + "}" * 10_000),
    "deep-open": b"[" * 10_000,
    "twice": raw('"model":"secret"'),
    "twice-escaped": raw('"mod\\u0065l":"secret"'),
    "twice-max-tokens": raw('"max_tokens":1,"max_tokens":16000'),
    "twice-deep": raw('"stream_options":{"include_usage":true,"include_usage":false}'),
}
_NO_CALL: Final = {
    **{f"max_tokens={value}": raw(f'"max_tokens":{value}') for value in (0, -1, 1.5, '"10"', "true", "[]", "1e3")},
    **{f"{name}=2^53": raw(f'"{name}":{_TWO_TO_53}') for name in ("max_tokens", "max_completion_tokens", "n")},
    **{f"n={value}": raw(f'"n":{value}') for value in (0, -1, 129, 1.0, '"2"', "false", "{}")},
    **{f"stream={value}": raw(f'"stream":{value}') for value in ('"true"', 1, 0, "[]")},
    **{f"user={value}": raw(f'"user":{value}') for value in (1, "[]", "{}", "true")},
    "model=null": b'{"model":null,"messages":[' + _MESSAGE.encode() + b"]}",
    "model=number": b'{"model":1,"messages":[' + _MESSAGE.encode() + b"]}",
    "messages=null": b'{"model":"mini","messages":null}',
    "messages=text": b'{"model":"mini","messages":"Hello"}',
    "messages=none": b'{"model":"mini","messages":[]}',
    "messages=nulls": b'{"model":"mini","messages":[null]}',
    "no-model": b'{"messages":[' + _MESSAGE.encode() + b"]}",
    "no-messages": b'{"model":"mini"}',
    "stream_options": raw('"stream_options":{"include_usage":"yes"}'),
}
# Members that bill what no hold covers.
_CHANGES_THE_PRICE: Final = {
    "service_tier": raw('"service_tier":"platinum"'),
    "web_search": raw('"web_search_options":{}'),
    "audio": raw('"audio":{"voice":"alloy","format":"wav"}'),
    "modalities": raw('"modalities":["text","audio"]'),
    "prediction": raw('"prediction":{"type":"content","content":"x"}'),
    "hosted-tool": raw('"tools":[{"type":"web_search"}]'),
    "models": raw('"models":["gpt-5-pro"]'),
    "provider": raw('"provider":{"order":["dearest"]}'),
    "unknown": raw('"max_price":1'),
    "other-case": raw('"Max_Tokens":1'),
    "input_audio": b'{"model":"mini","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}',
}
_BAD: Final = _NOT_JSON | _NO_CALL | _CHANGES_THE_PRICE


@pytest.fixture
def key_auth(gateway: Gateway, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with node_of(redis_address, monkeypatch):
        yield plugin("llm-key-auth", protocol="openai_chat")


@pytest.mark.parametrize("door", ["call", "dry-run", "estimate", "wrapped-estimate"])
def test_bad_input_is_a_clear_400_and_holds_nothing(key_auth: Any, gateway: Gateway, door: str) -> None:
    """All of a door's cases in one test: each is asked in the same organization, so that nothing can add up."""
    gateway.publish(budgets=(BUDGET,))
    period = gateway.set_cap(10**9)
    headers = {"authorization": f"Bearer {gateway.key}"} | ({"x_bursar_dry_run": "1"} if door == "dry-run" else {})
    limiter = plugin(
        "llm-rate-limit", protocol="openai_chat", answers="estimates" if door.endswith("estimate") else "calls"
    )
    wrong = {}

    for case, data in _BAD.items():
        sent = b'{"path":"/v1/chat/completions","body":' + data + b"}" if door == "wrapped-estimate" else data
        request = KongRequest(sent, **headers)
        request.run(key_auth, "access")
        request.run(limiter, "access")
        status, content, _ = request.exit or (None, {"error": {}}, {})
        if status != 400 or not content["error"]["message"] or request.shared.get("llm_grant") or request.logged:
            wrong[case] = request.exit

    assert wrong == {}
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert (state.spent, state.held) == (0, 0)
    assert gateway.store.open_holds(gateway.organization) == 0
    assert gateway.events() == []


def test_the_good_request_from_which_the_bad_ones_are_made_is_admitted(key_auth: Any, gateway: Gateway) -> None:
    request = KongRequest(raw('"temperature":0.5'), authorization=f"Bearer {gateway.key}")
    request.run(key_auth, "access")
    request.run(plugin("llm-rate-limit", protocol="openai_chat", answers="calls"), "access")

    assert request.exit is None
