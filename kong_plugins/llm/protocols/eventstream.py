"""Amazon's event streams (`application/vnd.amazon.eventstream`), read from the two ends of a stream.

A message has its own length and that of its headers (4 bytes each), their CRC-32, the headers, the payload, and the
CRC-32 of all before: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Answer

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = Struct(">III")
_CHECKSUM: Final = Struct(">I")
_LEAST_BYTES: Final = _PRELUDE.size + _CHECKSUM.size
# A header's value begins with its type: how many bytes follow, or that 2 more say so. 7 is a text.
_VALUE_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_COUNTED_VALUES: Final = (6, 7)
_TEXT: Final = 7


class Message(NamedTuple):
    """One whole message: its `:event-type`, empty where it tells of an error; and its size on the wire."""

    event_type: str
    payload: bytes
    size_bytes: int


def is_event_stream(answer: Answer) -> bool:
    """Whether the answer is such a stream."""
    return answer.content_type.lower().startswith(CONTENT_TYPE)


def messages_at_both_ends(answer: Answer) -> tuple[list[Message], list[Message]]:
    """The messages that lie wholly within the head, and those within the tail; all are in the head where the two meet.

    Within a message, whose payload is JSON, nothing looks like the beginning of another: JSON has no byte 0.
    """
    whole = answer.whole
    if whole is not None:
        return list(_messages(whole, 0)), []
    return list(_messages(answer.head, 0)), list(_messages(answer.tail, _first_begin(answer.tail)))


def sent_bound_tokens(answer: Answer, messages: list[Message], *, content_bytes: int) -> int:
    """An upper bound of the output tokens that were sent in a stream, of which these messages were seen, with so many
    bytes of content: a token has at least one byte, and every byte not understood may be a token."""
    unseen_bytes = answer.size_bytes - sum(message.size_bytes for message in messages)
    return content_bytes + max(0, unseen_bytes) + SLACK_TOKENS


def _first_begin(window: bytes) -> int:
    """Where the first whole message of a window begins; its end, where there is none."""
    at = window.find(b"\0")
    while at >= 0:
        if _message_at(window, at) is not None:
            return at
        at = window.find(b"\0", at + 1)
    return len(window)


def _messages(window: bytes, at: int) -> Iterator[Message]:
    while (message := _message_at(window, at)) is not None:
        yield message
        at += message.size_bytes


def _message_at(window: bytes, at: int) -> Message | None:
    """The message that begins there; None where none does, or it is not whole."""
    if len(window) - at < _LEAST_BYTES:
        return None
    size_bytes, headers_bytes, prelude_checksum = _PRELUDE.unpack_from(window, at)
    is_begin = zlib.crc32(window[at : at + 8]) == prelude_checksum
    if not is_begin or not _LEAST_BYTES + headers_bytes <= size_bytes <= len(window) - at:
        return None
    end = at + size_bytes - _CHECKSUM.size
    if zlib.crc32(window[at:end]) != _CHECKSUM.unpack_from(window, end)[0]:
        return None
    headers_end = at + _PRELUDE.size + headers_bytes
    event_type = _text_headers(window[at + _PRELUDE.size : headers_end]).get(b":event-type", b"")
    return Message(event_type.decode(errors="replace"), window[headers_end:end], size_bytes)


def _text_headers(data: bytes) -> dict[bytes, bytes]:
    """The headers whose values are texts, as far as they can be read."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        value_at = at + 2 + data[at]
        kind = data[value_at - 1] if value_at <= len(data) else -1
        if kind in _COUNTED_VALUES:
            length, value_at = int.from_bytes(data[value_at : value_at + 2], "big"), value_at + 2
        elif kind in _VALUE_BYTES:
            length = _VALUE_BYTES[kind]
        else:
            break
        if kind == _TEXT:
            found[data[at + 1 : at + 1 + data[at]]] = data[value_at : value_at + length]
        at = value_at + length
    return found
