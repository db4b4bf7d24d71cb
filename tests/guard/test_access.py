"""What leaves for a provider, and what does not leave at all."""

from __future__ import annotations

import json

import pytest

from tests.guard.gateway import Exchange, Kong, grant_for


def test_a_request_without_a_grant_is_refused_in_the_clients_dialect(kong: Kong) -> None:
    exchange = Exchange(kong, headers={"authorization": "Bearer bsr_client"})

    exchange.access()

    refusal = exchange["refusal"]
    assert refusal["status"] == 503
    assert refusal["headers"] == {"content-type": "application/json", "retry-after": "1", "x-should-retry": "true"}
    error = json.loads(refusal["body"])["error"]
    assert error["code"] == "policy_unavailable"
    assert set(error) == {"message", "type", "param", "code"}
    assert exchange["upstream"] == {}


def test_a_request_of_anthropics_sdk_is_refused_as_anthropic_would() -> None:
    exchange = Exchange(Kong("anthropic_messages"))

    exchange.access()

    assert exchange["refusal"]["status"] == 503
    answer = json.loads(exchange["refusal"]["body"])
    assert (answer["type"], answer["error"]["type"], answer["error"]["code"]) == (
        "error",
        "api_error",
        "policy_unavailable",
    )


def test_a_grant_that_is_no_table_is_no_grant(kong: Kong) -> None:
    exchange = Exchange(kong)
    exchange["shared"] = {"llm_grant": "yes"}

    exchange.access()

    assert exchange["refusal"]["status"] == 503


def test_a_grant_decides_where_the_request_goes_and_who_pays(kong: Kong) -> None:
    body = b'{"model":"gpt","messages":[]}'
    exchange = Exchange(
        kong,
        body=body,
        headers={"authorization": "Bearer bsr_client", "content-type": "application/json"},
        grant=grant_for(body, query="api-version=1"),
    )

    exchange.access()

    assert exchange["refusal"] is None
    assert exchange["upstream"] == {
        "host": "api.openai.example",
        "port": 443,
        "scheme": "https",
        "path": "/v1/chat/completions",
        "query": "api-version=1",
    }
    assert exchange["request_headers"] == {
        "authorization": "Bearer sk-provider",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }


def test_splices_change_only_the_bytes_they_name(kong: Kong) -> None:
    body = '{"model":"gpt","max_tokens":99,"x":"é"}'.encode()
    model = body.index(b'"gpt"')
    limit = body.index(b"99")
    splices = [[0, 0, ""], [model, 5, '"gpt-4o-mini"'], [limit, 2, "7"], [len(body) - 1, 0, ',"stream":true']]
    exchange = Exchange(kong, body=body, grant=grant_for(body, splices=splices))

    exchange.access()

    sent = exchange["upstream"]["body"].encode("latin-1")
    assert sent == '{"model":"gpt-4o-mini","max_tokens":7,"x":"é","stream":true}'.encode()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body_length": 3}, "not the one that was admitted"),
        ({"body_crc32": 1}, "not the one that was admitted"),
        ({"splices": [[1, 5, "x"]]}, "splice 1 does not fit"),
        ({"splices": [[1, 1, "x"], [0, 1, "y"]]}, "splice 2 does not fit"),
    ],
)
def test_a_grant_for_another_body_is_refused(kong: Kong, changes: dict[str, object], reason: str) -> None:
    exchange = Exchange(kong, body=b"{}", grant=grant_for(b"{}", **changes))

    exchange.access()

    assert exchange["refusal"]["status"] == 503
    assert exchange["upstream"] == {}
    assert reason in exchange["logs"][0]


def test_a_request_that_was_refused_after_its_grant_says_so_to_the_meter(kong: Kong) -> None:
    exchange = Exchange(kong, grant=grant_for(body_length=3))
    exchange.access()
    exchange.head({}, status=503, source="exit")

    call = exchange.log(upstream_bytes_sent=None)

    assert exchange["response_headers"]["x-bursar-request-id"] == "req_1"
    assert (call["applied"], call["connected"], call["source"]) == (False, False, "exit")
    assert call["meter"] == '{"opaque":true}'


def test_what_the_client_says_of_itself_never_reaches_a_provider(kong: Kong) -> None:
    claims = [
        *("Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization"),
        *("X-User-Id", "x_user_id", "X-Team", "X-Consumer-Username", "X_Consumer_Id", "X-Credential-Identifier"),
        *("X-Bursar-Team", "x_bursar_grant", "x_api_key", "OpenAI-Organization", "OpenAI-Project"),
        *("Anthropic-Workspace-Id", "Anthropic-User-Profile-Id"),
        *("X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-SHA256"),
    ]
    headers = {name.lower(): ["a", "b"] if name == "X-Team" else "mine" for name in claims} | {"user-agent": "sdk"}
    exchange = Exchange(kong, headers=headers, grant=grant_for(set_headers={"api-key": "ours"}))

    exchange.access()

    assert exchange["request_headers"] == {"user-agent": "sdk", "api-key": "ours"}


def test_credentials_are_redacted_in_kongs_logs(kong: Kong) -> None:
    headers = {"authorization": "Bearer bsr_client", "x-api-key": "k", "x_api_key": "k", "cookie": "c", "accept": "*/*"}
    refused = Exchange(kong, headers=headers)
    refused.access()
    assert refused.log() is None
    assert _redacted(refused) == {"authorization", "x-api-key", "x_api_key", "cookie"}

    granted = Exchange(kong, headers=headers, grant=grant_for(set_headers={"X-Amz-Security-Token": "t"}))
    granted.access()
    granted.log()
    assert _redacted(granted) == {"x-amz-security-token"}


def test_a_key_in_the_query_is_redacted_wherever_kong_records_it(kong: Kong) -> None:
    refused = Exchange(kong, query={"key": "bsr_client", "alt": "sse"})
    refused.access()
    refused.log()

    path = "/v1beta/models/mini:generateContent"
    assert {entry[0]: entry[1] for entry in refused["serialize_values"]} == {
        "request.querystring.key": "REDACTED",
        "request.uri": path,
        "request.url": f"https://kong.example:8443{path}",
    }


def _redacted(exchange: Exchange) -> set[str]:
    entries = exchange["serialize_values"]
    assert all(entry[1:] == ["REDACTED", "replace"] for entry in entries)
    return {entry[0].removeprefix("request.headers.") for entry in entries}
