"""What a client is told of an attempt that its deployment has failed, and what the meter is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.guard.gateway import Exchange, Kong, grant_for

AT_ONCE = {"x-should-retry": "true", "retry-after-ms": "200", "retry-after": "1"}
HEADERS = {"content-type": "application/json", "retry-after": "20"}


def answered(kong: Kong, *, headers: Any = HEADERS, has_other: bool = True, **head: Any) -> Exchange:
    exchange = Exchange(kong, grant=grant_for(has_other=has_other))
    exchange.access()
    exchange.head(headers, **head)
    return exchange


def told(exchange: Exchange) -> dict[str, str]:
    names = ("x-should-retry", "retry-after", "retry-after-ms")
    return {name: value for name, value in exchange["response_headers"].items() if name in names}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "busy"), (500, "busy"), (503, "busy"), (529, "busy"), (401, "refused"), (402, "refused"), (403, "refused")],
)
def test_a_failure_comes_back_at_once_where_another_could_serve_it(kong: Kong, status: int, kind: str) -> None:
    exchange = answered(kong, status=status)

    assert told(exchange) == AT_ONCE
    assert exchange.body([b'{"error":', b'"busy"}']) == b'{"error":"busy"}', "the provider's own words"
    assert exchange.log()["failure"] == {"kind": kind, "retry_after": "20", "retry_after_ms": ""}


@pytest.mark.parametrize("status", [429, 503, 401])
def test_where_nobody_else_could_the_provider_says_when_to_come_back(kong: Kong, status: int) -> None:
    exchange = answered(kong, status=status, has_other=False)

    assert told(exchange) == {"retry-after": "20"}
    assert exchange.log()["failure"]["retry_after"] == "20"


@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 409, 413, 422])
def test_what_the_deployment_is_not_to_blame_for_is_left_as_it_is(kong: Kong, status: int) -> None:
    exchange = answered(kong, status=status)

    assert told(exchange) == {"retry-after": "20"}
    assert "failure" not in exchange.log()


def test_of_several_values_the_meter_is_told_the_first(kong: Kong) -> None:
    exchange = answered(kong, headers={"retry-after": ["3", "9"], "retry-after-ms": "2500"}, status=429)

    assert exchange.log()["failure"] == {"kind": "busy", "retry_after": "3", "retry_after_ms": "2500"}


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        (
            "openai_chat",
            {
                "error": {
                    "message": "The provider could not be reached.",
                    "type": "server_error",
                    "param": None,
                    "code": "provider_unavailable",
                }
            },
        ),
        (
            "anthropic_messages",
            {
                "type": "error",
                "error": {
                    "type": "api_error",
                    "message": "The provider could not be reached.",
                    "code": "provider_unavailable",
                    "param": None,
                },
            },
        ),
    ],
)
@pytest.mark.parametrize("status", [502, 504])
def test_who_cannot_be_reached_is_told_of_in_the_clients_dialect(
    protocol: str, error: dict[str, Any], status: int
) -> None:
    html = {"content-type": "text/html", "content-length": "9"}
    exchange = answered(Kong(protocol), headers=html, status=status, source="error", upstream_bytes_sent="0, 0")

    body = exchange.body([b"<html>", b"..."])

    assert json.loads(body) == error
    assert exchange["response_headers"] == {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-bursar-request-id": "req_1",
        **AT_ONCE,
    }
    call = exchange.log(upstream_bytes_sent="0, 0")
    assert (call["failure"]["kind"], call["connected"]) == ("unreachable", False)


def test_an_error_of_google_names_its_status_and_one_of_aws_its_kind() -> None:
    google = answered(Kong("gemini"), headers={}, status=504, source="error", upstream_bytes_sent="0")
    aws = answered(Kong("bedrock_converse"), headers={}, status=502, source="error", upstream_bytes_sent="0")

    error = json.loads(google.body([b"timeout"]))["error"]
    assert (error["code"], error["details"][0]["reason"]) == (504, "PROVIDER_UNAVAILABLE")
    assert json.loads(aws.body([b"bad gateway"]))["code"] == "provider_unavailable"
    assert aws["response_headers"]["x-amzn-errortype"] == "ServiceUnavailableException"


@pytest.mark.parametrize("status", [502, 504])
def test_a_call_that_may_have_been_billed_is_not_sent_again_by_itself(kong: Kong, status: int) -> None:
    """It is charged in full: a retry by the SDK would be a second charge for one answer."""
    exchange = answered(kong, headers={}, status=status, source="error", upstream_bytes_sent="0, 512")

    assert told(exchange) == {"x-should-retry": "false"}
    assert "may have been billed" in json.loads(exchange.body([b"timeout"]))["error"]["message"]
    assert exchange.log()["failure"]["kind"] == "silent"


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize("protocol", ["bedrock_converse", "bedrock_invoke"])
def test_awss_sdks_are_told_in_their_own_words_not_to_send_a_billed_call_again(protocol: str, status: int) -> None:
    exchange = answered(Kong(protocol), headers={}, status=status, source="error", upstream_bytes_sent="512")

    assert exchange["status"] == 408, "of 502 and 504, they would try again"
    assert exchange["response_headers"]["x-amzn-errortype"] == "ModelTimeoutException"
    assert "may have been billed" in json.loads(exchange.body([b"timeout"]))["message"]
    call = exchange.log()
    assert (call["status"], call["failure"]["kind"]) == (status, "silent"), "what has happened"


def test_awss_sdks_are_told_in_their_own_header_when_another_could_serve_the_call() -> None:
    exchange = answered(Kong("bedrock_converse"), status=503)

    assert told(exchange) == AT_ONCE
    assert exchange["response_headers"]["x-amz-retry-after"] == AT_ONCE["retry-after-ms"]
    assert exchange["status"] == 503


@pytest.mark.parametrize(("status", "source"), [(500, "error"), (503, "exit"), (429, "exit"), (502, "exit")], ids=str)
def test_what_kong_or_another_plugin_says_itself_is_nobodys_failure(kong: Kong, status: int, source: str) -> None:
    exchange = answered(kong, headers={}, status=status, source=source, upstream_bytes_sent=None)

    assert told(exchange) == {}
    assert exchange.body([b"no"]) == b"no"
    assert "failure" not in exchange.log(upstream_bytes_sent=None)
