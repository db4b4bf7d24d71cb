"""How an answer passes to the client, and what the meter gets to know of it."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.guard.gateway import Exchange, Kong, grant_for

HEAD_BYTES = 4096
TAIL_BYTES = 16384
CHUNKS = st.lists(st.binary(max_size=5000), max_size=12)


def answered(kong: Kong, **changes: Any) -> Exchange:
    exchange = Exchange(kong, grant=grant_for(**changes))
    exchange.access()
    return exchange


def test_the_providers_account_and_its_limits_give_way_to_ours(kong: Kong) -> None:
    exchange = answered(kong, response_headers={"x-ratelimit-limit-requests": "600", "x-bursar-model": "sim/gpt"})

    exchange.head(
        {
            "content-type": "application/json",
            "x-ratelimit-limit-tokens": "9",
            "anthropic-ratelimit-requests-reset": "soon",
            "openai-organization": "acme-main",
            "anthropic-organization-id": "acme-main",
            "anthropic-priority-input-tokens-limit": "9",
            "retry-after": "3",
        }
    )

    assert exchange["response_headers"] == {
        "content-type": "application/json",
        "retry-after": "3",
        "x-ratelimit-limit-requests": "600",
        "x-bursar-model": "sim/gpt",
    }


def test_an_answer_of_kong_itself_has_our_headers_too(kong: Kong) -> None:
    exchange = answered(kong)
    exchange.head({"content-type": "application/json"}, status=500, source="error")
    exchange.pass_time(3600)
    exchange.body([b"an accident"])

    call = exchange.log(upstream_bytes_sent="0")

    assert exchange["response_headers"]["x-bursar-request-id"] == "req_1"
    assert exchange.sent == [b"an accident", b""]
    assert (call["source"], call["status"], call["connected"]) == ("error", 500, False)


def test_what_kong_sends_in_a_subrequest_is_not_taken_for_unsent(kong: Kong) -> None:
    exchange = answered(kong)
    exchange["tries"] = 1
    exchange.head({"content-type": "application/json"})
    exchange.body([b"{}"])

    assert exchange.log(upstream_bytes_sent=None)["connected"] is True


def test_an_ungranted_answer_is_left_alone(kong: Kong) -> None:
    exchange = Exchange(kong)
    exchange.access()
    exchange.head({"x-ratelimit-limit-minute": "5"}, status=401, source="exit")

    assert exchange.body([b"no"]) == b"no"
    assert exchange["response_headers"] == {"x-ratelimit-limit-minute": "5"}
    assert not any(exchange.assigned)
    assert exchange.log() is None


def test_the_meter_is_told_of_the_whole_exchange(kong: Kong) -> None:
    exchange = answered(kong)
    exchange.pass_time(0.25)
    exchange.head({"content-type": "text/event-stream; charset=utf-8"})
    exchange.pass_time(0.25)
    exchange.body([b"data: 1\n\n", b"data: 2\r\n", b"\r\ndata: [DONE]\n\n"])
    exchange.pass_time(0.5)

    call = exchange.log(upstream_bytes_sent="0, 812")

    assert call == {
        "meter": '{"opaque":true}',
        "applied": True,
        "status": 200,
        "source": "service",
        "connected": True,
        "head": "data: 1\n\ndata: 2\r\n\r\ndata: [DONE]\n\n",
        "tail": "data: 1\n\ndata: 2\r\n\r\ndata: [DONE]\n\n",
        "bytes": 34,
        "events": 3,
        "complete": True,
        "ended_at_deadline": False,
        "latency_ms": 1000,
        "first_byte_ms": 500,
        "content_type": "text/event-stream; charset=utf-8",
        "content_encoding": "",
        "headers": {},
    }


def test_the_meter_is_told_the_headers_that_it_wants_to_know(kong: Kong) -> None:
    exchange = answered(kong, answer_headers=["x-amzn-bedrock-output-token-count", "x-absent", "x-twice"])
    exchange.head({"x-amzn-bedrock-output-token-count": "12", "x-other": "1", "x-twice": ["1", "2"]})

    assert exchange.log()["headers"] == {"x-amzn-bedrock-output-token-count": "12", "x-twice": "1"}


def test_a_client_that_leaves_brings_no_end_and_loses_no_count(kong: Kong) -> None:
    exchange = answered(kong)
    exchange.head({"content-type": "text/event-stream"})
    exchange.chunk(b"data: 1\n\nda")

    tapped = exchange.shared["llm_tap"]
    call = exchange.log()

    assert tapped["bytes"] == 11
    assert (call["complete"], call["bytes"], call["events"]) == (False, 11, 1)


def test_an_answer_without_a_byte_has_no_first_byte_time(kong: Kong) -> None:
    exchange = answered(kong)

    call = exchange.log(upstream_bytes_sent="0")

    assert "first_byte_ms" not in call
    assert (call["head"], call["tail"], call["bytes"], call["connected"]) == ("", "", 0, False)


@given(chunks=CHUNKS)
@example(chunks=[b"x", b"y" * (TAIL_BYTES - 1)])
def test_any_cut_of_an_answer_leaves_the_same_head_and_tail(kong: Kong, chunks: list[bytes]) -> None:
    exchange = answered(kong)
    exchange.head({"content-type": "application/octet-stream"})

    sent = exchange.body(chunks)

    whole = b"".join(chunks)
    call = exchange.log()
    assert sent == whole
    assert not any(exchange.assigned)
    assert call["head"].encode("latin-1") == whole[:HEAD_BYTES]
    assert call["tail"].encode("latin-1") == whole[-TAIL_BYTES:]
    assert (call["bytes"], call["events"]) == (len(whole), 0)


def test_a_long_answer_in_small_pieces_keeps_only_its_ends(kong: Kong) -> None:
    exchange = answered(kong)
    exchange.head({"content-type": "text/event-stream"})
    pieces = [b"data: %06d\n\n" % number for number in range(20_000)]
    for piece in pieces:
        exchange.chunk(piece)

    tapped = exchange.shared["llm_tap"]
    call = exchange.log()

    kept = sum(len(piece) for piece in tapped["tail_pieces"].values()) + len("".join(tapped["head_pieces"]))
    assert kept <= HEAD_BYTES + TAIL_BYTES + len(pieces[0])
    assert call["events"] == 20_000
    assert call["tail"].encode() == b"".join(pieces)[-TAIL_BYTES:]


def test_nothing_passes_once_the_deadline_is_over(kong: Kong) -> None:
    exchange = answered(kong, deadline_ms=1000)
    exchange.head({"content-type": "text/event-stream"})
    assert exchange.chunk(b"data: 1\n\n") == b"data: 1\n\n"
    exchange.pass_time(1)

    late = exchange.chunk(b"data: 2\n\n")

    assert late == b""
    assert "deadline" in (exchange.failure or "")
    call = exchange.log()
    assert call["ended_at_deadline"] is True
    assert call["complete"] is False
    assert call["tail"] == "data: 1\n\ndata: 2\n\n"


def test_an_answer_that_ended_in_time_may_be_closed_after_the_deadline(kong: Kong) -> None:
    exchange = answered(kong, deadline_ms=1000)
    exchange.head({"content-type": "application/json"})
    exchange.chunk(b"{}")
    exchange.pass_time(2)

    exchange.chunk(b"", complete=True)

    assert exchange.failure is None
    assert exchange.log()["complete"] is True
