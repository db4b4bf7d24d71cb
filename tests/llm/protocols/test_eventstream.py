"""Amazon's event streams as the tap keeps them: whole messages only, whatever lies between them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from botocore.eventstream import EventStreamBuffer

from kong_plugins.llm.protocols.eventstream import is_event_stream, messages_at_both_ends
from tests.llm.protocols.captures import CORPUS, HEAD_BYTES, TAIL_BYTES, tapped
from tests.llm.protocols.frames import CONTENT_TYPE, frame, message, text, text_header

STREAMS = sorted(path for path in CORPUS.glob("bedrock_*/*.eventstream"))


def seen(body: bytes) -> list[tuple[str, bytes]]:
    head, tail = messages_at_both_ends(tapped(body, content_type=CONTENT_TYPE))
    return [(each.event_type, each.payload) for each in head + tail]


def as_botocore_reads(body: bytes) -> list[tuple[str, bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [(each.headers.get(":event-type", ""), each.payload) for each in buffer]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_messages_are_read_as_botocore_reads_them(path: object) -> None:
    body = path.read_bytes()  # type: ignore[attr-defined]
    expected = as_botocore_reads(body)

    found = seen(body)

    if len(body) <= TAIL_BYTES:
        assert found == expected
        return
    head, tail = messages_at_both_ends(tapped(body, content_type=CONTENT_TYPE))
    assert found[: len(head)] == expected[: len(head)]
    assert found[len(head) :] == expected[len(expected) - len(tail) :]
    unseen = len(body) - sum(each.size_bytes for each in head + tail)
    assert len(body) - HEAD_BYTES - TAIL_BYTES <= unseen


def test_the_tail_may_begin_anywhere() -> None:
    events = [text("word " * 40) for _ in range(120)]
    body = b"".join(events)

    for cut in range(len(events[0])):
        *_, (_, last) = seen(body[: len(body) - cut])
        assert last == as_botocore_reads(events[0])[0][1]


def damaged() -> Iterator[bytes]:
    whole = text("abc")
    for at in range(len(whole)):
        yield whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    yield struct.pack(">III", 3, 0, 0x4A17B156) + bytes(8)


def test_a_message_that_is_damaged_anywhere_is_none() -> None:
    assert all(seen(text("before") + each + text("after"))[1:] == [] for each in damaged())
    assert seen(b"") == []
    assert seen(b"<html>not such a stream</html>") == []


def test_headers_of_every_kind_are_passed_over() -> None:
    others = b"".join(
        bytes([1]) + b"x" + bytes([kind]) + bytes(size)
        for kind, size in {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}.items()
    )
    blob = b"\x01y\x06\x00\x03abc"
    body = message(others + blob + text_header(":event-type", "metadata"), b"{}")

    assert as_botocore_reads(message(blob + text_header(":event-type", "metadata"), b"{}")) == [("metadata", b"{}")]
    assert seen(body) == [("metadata", b"{}")]


@pytest.mark.parametrize("headers", [b"\x01x\x0a", b"\xff", b"\x01x", b"\x05:even"])
def test_headers_that_make_no_sense_name_no_event(headers: bytes) -> None:
    assert seen(message(headers, b"{}")) == [("", b"{}")]


def test_an_error_is_no_event() -> None:
    assert seen(frame("throttlingException", error=True, message="Slow down"))[0][0] == ""


def test_a_stream_is_known_by_its_type() -> None:
    assert is_event_stream(tapped(b"", content_type="Application/vnd.amazon.eventstream; charset=x"))
    assert not is_event_stream(tapped(b""))
