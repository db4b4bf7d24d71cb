"""The usage event that only Bursar asked for is taken out, and nothing else is touched."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard.gateway import Exchange, Kong, grant_for

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "usage": None}
TRICK = 'He wrote {"choices":[],"usage":{"prompt_tokens":1}} and "choices":[] \\" again: \n\ndata: {"choices":[]}\n\n'

CONTENTS = st.one_of(st.just(TRICK), st.text(max_size=40))
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])


def content_event(content: str) -> bytes:
    return json.dumps({**CHUNK, "choices": [{"index": 0, "delta": {"content": content}}]}).encode()


def usage_event(**changes: object) -> bytes:
    return json.dumps({**CHUNK, "choices": [], "usage": USAGE, **changes}, separators=(",", ":")).encode()


def streamed(kong: Kong, chunks: list[bytes], *, strip: bool = True, headers: dict[str, str] | None = None) -> Exchange:
    exchange = Exchange(kong, grant=grant_for(strip_usage_chunk=strip))
    exchange.access()
    exchange.head({"content-type": "text/event-stream", **(headers or {})})
    exchange.body(chunks)
    return exchange


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream with its usage event, and the same stream without it."""
    end = draw(LINE_ENDS)
    contents = [content_event(content) for content in draw(st.lists(CONTENTS, max_size=6))]
    payloads = [*contents, usage_event(), b"[DONE]"]
    events = [b"data: " + payload + end + end for payload in payloads]
    whole = b"".join(events)
    return whole, whole.replace(events[-2], b"")


@st.composite
def cut(draw: st.DrawFn, text: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=30)))
    return [text[start:stop] for start, stop in pairwise([0, *places, len(text)])]


@given(data=st.data())
def test_any_cut_of_any_stream_gives_the_same_bytes_without_the_usage_event(kong: Kong, data: st.DataObject) -> None:
    whole, without = data.draw(streams())

    exchange = streamed(kong, data.draw(cut(whole)))

    assert b"".join(exchange.sent) == without
    call = exchange.log()
    assert call["tail"].encode("latin-1") == whole[-16384:]
    assert call["events"] == whole.count(b"\n\n") + whole.count(b"\r\n\r\n")


def test_single_bytes_are_held_back_only_until_their_event_ends(kong: Kong) -> None:
    whole = b"data: " + content_event("hi") + b"\n\ndata: " + usage_event() + b"\n\ndata: [DONE]\n\n"

    exchange = streamed(kong, [bytes([byte]) for byte in whole])

    first_event = whole.index(b"\n\n") + 2
    assert b"".join(exchange.sent[:first_event]) == whole[:first_event]
    assert b"".join(exchange.sent) == whole.replace(b"data: " + usage_event() + b"\n\n", b"")


def test_whole_events_pass_without_being_assigned(kong: Kong) -> None:
    events = [b"data: " + content_event(f"word {number}") + b"\n\n" for number in range(5)]

    exchange = streamed(kong, [*events, b"data: " + usage_event() + b"\n\n", b"data: [DONE]\n\n"])

    assert exchange.assigned == [False] * 5 + [True, False, False]


def test_a_client_that_asked_for_the_usage_event_gets_it(kong: Kong) -> None:
    whole = b"data: " + usage_event() + b"\n\ndata: [DONE]\n\n"

    exchange = streamed(kong, [whole], strip=False)

    assert b"".join(exchange.sent) == whole
    assert not any(exchange.assigned)


def test_the_length_of_a_filtered_stream_is_not_announced(kong: Kong) -> None:
    length = {"content-length": "100"}

    assert "content-length" not in streamed(kong, [], headers=length)["response_headers"]
    assert "content-length" in streamed(kong, [], strip=False, headers=length)["response_headers"]


@pytest.mark.parametrize(
    "payload",
    [
        content_event(TRICK),
        usage_event(usage=None),
        json.dumps({**CHUNK, "choices": [], "prompt_filter_results": []}).encode(),
        json.dumps({"error": {"choices": [], "usage": USAGE}}).encode(),
        json.dumps({"choices": [{"delta": {}, "inner": {"choices": [], "usage": USAGE}}], "usage": USAGE}).encode(),
        json.dumps({"note": 'the key "choices":[] and "usage":{', "choices": [], "usage": "none"}).encode(),
        json.dumps([{"choices": [], "usage": USAGE}]).encode(),
    ],
)
def test_what_only_looks_like_the_usage_event_stays(kong: Kong, payload: bytes) -> None:
    whole = b"data: " + payload + b"\n\ndata: [DONE]\n\n"

    assert b"".join(streamed(kong, [whole]).sent) == whole


@pytest.mark.parametrize(
    "event",
    [
        b"data:" + usage_event(),
        b"data: " + usage_event().replace(b'"choices":[]', b'"choices" : [ ]'),
        b": note\nevent: chunk\nid: 7\ndata: " + usage_event(),
        b"data: " + usage_event().replace(b',"choices"', b',\ndata: "choices"'),
        b"data: " + json.dumps({"note": 'one " and [', "choices": [], "usage": USAGE}).encode(),
    ],
)
def test_the_usage_event_is_known_in_every_spelling(kong: Kong, event: bytes) -> None:
    assert b"".join(streamed(kong, [event + b"\n\ndata: [DONE]\n\n"]).sent) == b"data: [DONE]\n\n"


def test_a_usage_event_at_the_very_end_needs_no_blank_line(kong: Kong) -> None:
    assert b"".join(streamed(kong, [b"data: 1\n\n", b"data: " + usage_event()]).sent) == b"data: 1\n\n"


def test_an_event_too_long_to_be_one_of_usage_passes_as_it_comes(kong: Kong) -> None:
    long_event = b"data: " + content_event("x" * 100_000) + b"\n\n"
    pieces = [long_event[start : start + 1000] for start in range(0, len(long_event), 1000)]

    exchange = streamed(kong, [*pieces, b"data: " + usage_event() + b"\n\n"])

    assert b"".join(exchange.sent) == long_event
    assert len(b"".join(exchange.sent[:50])) == 50_000


def test_the_rest_of_a_long_event_is_not_taken_for_an_event_of_its_own(kong: Kong) -> None:
    pieces = [b"data: " + b"x" * 20_000, b"\ndata: " + usage_event() + b"\n\n"]

    assert b"".join(streamed(kong, pieces).sent) == b"".join(pieces)


def test_an_encoded_stream_is_not_filtered(kong: Kong) -> None:
    whole = b"data: " + usage_event() + b"\n\n"

    assert b"".join(streamed(kong, [whole], headers={"content-encoding": "gzip"}).sent) == whole
