"""A route that is only observed: everything passes, and only what was asked for beside is taken out again."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from tests.guard.gateway import Exchange, Kong, grant_for

VIRTUAL_KEY = "bsr_ABCDEFGHIJKL_0123456789abcdefghijklmnopqrstuv_a1B2c3"
BODY = b'{"model":"gpt","stream":true}'
ASKING = '"stream_options":{"include_usage":true},'
USAGE_EVENT = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'


@pytest.fixture(scope="module")
def observing() -> Kong:
    return Kong(mode="observe")


def observation_for(body: bytes = BODY, **changes: Any) -> dict[str, Any]:
    """An observation as the rate-limit plugin writes it, for this body."""
    return {
        "body_length": len(body),
        "body_crc32": zlib.crc32(body),
        "splices": [[1, 0, ASKING]],
        "strip_usage_chunk": True,
        "answer_headers": [],
        "meter": '{"opaque":true}',
        **changes,
    }


def test_a_call_goes_where_its_client_sends_it_with_the_clients_own_key(observing: Kong) -> None:
    headers = {"authorization": "Bearer sk-theirs", "openai-organization": "acme", "x-user-id": "alice"}
    exchange = Exchange(observing, body=BODY, headers=headers, observation=observation_for())

    exchange.access()

    assert exchange["refusal"] is None
    assert exchange["upstream"] == {"body": "{" + ASKING + BODY.decode()[1:]}
    assert exchange["request_headers"] == headers


def test_an_answer_is_asked_for_as_it_can_be_read(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, headers={"accept-encoding": "gzip"}, observation=observation_for())

    exchange.access()

    assert exchange["request_headers"] == {"accept-encoding": "identity"}


def test_a_virtual_key_reaches_nobody_else(observing: Kong) -> None:
    headers: dict[str, str | list[str]] = {
        "authorization": f"Bearer {VIRTUAL_KEY}",
        "x-api-key": ["sk-theirs", VIRTUAL_KEY],
        "accept": VIRTUAL_KEY,
    }
    for observation in (observation_for(), None):
        exchange = Exchange(observing, body=BODY, headers=headers, query={"key": VIRTUAL_KEY}, observation=observation)

        exchange.access()

        assert exchange["request_headers"] == {
            "authorization": "Bearer virtual-key-removed",
            "x-api-key": ["sk-theirs", "virtual-key-removed"],
            "accept": VIRTUAL_KEY,
        }
        assert exchange["upstream"]["query"] == "key=virtual-key-removed"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (f"alt=sse&key={VIRTUAL_KEY.replace('_', '%5F')}&x=%5f", "alt=sse&key=virtual-key-removed&x=%5f"),
        (f"token=%62sr{VIRTUAL_KEY[3:]}", "token=virtual-key-removed"),
        (f"{VIRTUAL_KEY.replace('_', '%5f')}", "virtual-key-removed"),
        ("key=AIza&a%5Fb=1", None),
    ],
)
def test_a_virtual_key_in_the_query_reaches_nobody_however_it_is_encoded(
    observing: Kong, query: str, sent: str | None
) -> None:
    exchange = Exchange(observing, body=BODY, observation=observation_for(splices=[]))
    exchange["request_raw_query"] = query

    exchange.access()

    assert exchange["upstream"].get("query") == sent


def test_what_no_plugin_could_look_at_passes_as_it_is(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, headers={"x-api-key": "sk-theirs"})
    exchange.access()
    exchange.head({"content-type": "text/event-stream", "x-ratelimit-limit-requests": "9"})

    assert exchange.body([USAGE_EVENT]) == USAGE_EVENT
    assert (exchange["refusal"], exchange["upstream"]) == (None, {})
    assert exchange["response_headers"] == {"content-type": "text/event-stream", "x-ratelimit-limit-requests": "9"}
    assert exchange.log() is None


def test_a_body_that_is_another_by_now_passes_as_it_is(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, observation=observation_for(body_crc32=1))
    exchange.access()
    exchange.head({"content-type": "text/event-stream"})

    assert exchange.body([USAGE_EVENT]) == USAGE_EVENT
    assert exchange["upstream"] == {}
    assert "left as it came" in exchange["logs"][0]
    assert exchange.log()["applied"] is True


def test_an_answer_keeps_its_headers_and_the_meter_is_told_of_it(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, observation=observation_for())
    exchange.access()
    exchange.head({"content-type": "text/event-stream", "x-ratelimit-limit-requests": "9", "content-length": "99"})

    passed = exchange.body([b"data: 1\n\n", USAGE_EVENT, b"data: [DONE]\n\n"])
    call = exchange.log()

    assert passed == b"data: 1\n\ndata: [DONE]\n\n"
    assert exchange["response_headers"] == {"content-type": "text/event-stream", "x-ratelimit-limit-requests": "9"}
    assert (call["meter"], call["applied"], call["connected"]) == ('{"opaque":true}', True, True)
    assert USAGE_EVENT.decode() in call["tail"]


def test_an_answer_of_an_observed_route_may_take_as_long_as_it_does(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, observation=observation_for())
    exchange.access()
    exchange.head({"content-type": "text/event-stream"})
    exchange.pass_time(86_400)

    assert exchange.chunk(b"data: 1\n\n") == b"data: 1\n\n"
    assert exchange.failure is None


def test_an_answer_of_kong_itself_is_not_taken_for_the_providers(observing: Kong) -> None:
    exchange = Exchange(observing, body=BODY, observation=observation_for())
    exchange.access()
    exchange.head({"content-type": "text/event-stream"}, status=200, source="exit")

    assert exchange.body([USAGE_EVENT]) == USAGE_EVENT
    assert exchange.log(upstream_bytes_sent=None)["source"] == "exit"


def test_an_observation_is_no_grant(kong: Kong, observing: Kong) -> None:
    governed = Exchange(kong, body=BODY, observation=observation_for())
    governed.access()
    granted = Exchange(observing, body=b"{}", grant=grant_for())
    granted.access()

    assert json.loads(governed["refusal"]["body"])["error"]["code"] == "policy_unavailable"
    assert governed.log() is None
    assert granted["upstream"]["host"] == "api.openai.example"


@pytest.mark.parametrize(("status", "source"), [(429, "service"), (401, "service"), (502, "error")])
def test_a_failure_there_is_between_the_client_and_its_provider(observing: Kong, status: int, source: str) -> None:
    """It may be the client's own key that is refused: it marks no deployment of ours, and no retry is asked for."""
    exchange = Exchange(observing, body=BODY, observation=observation_for())
    exchange.access()
    exchange.head({"retry-after": "20"}, status=status, source=source, upstream_bytes_sent="0")

    assert exchange.body([b"no"]) == b"no"
    assert exchange["response_headers"] == {"retry-after": "20"}
    assert "failure" not in exchange.log()
