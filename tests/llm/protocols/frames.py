"""Messages of Amazon's event streams, written for tests."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any, Final

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"


def text_header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def message(headers: bytes, payload: bytes) -> bytes:
    """One message with these headers, as they stand on the wire."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    checked = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return checked + struct.pack(">I", zlib.crc32(checked))


def frame(event_type: str, *, error: bool = False, **members: Any) -> bytes:
    """One event as Bedrock sends it, or one error."""
    headers = (
        text_header(":exception-type" if error else ":event-type", event_type)
        + text_header(":content-type", "application/json")
        + text_header(":message-type", "exception" if error else "event")
    )
    return message(headers, json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def text(said: str, block: int = 0) -> bytes:
    """A piece of an answer in Converse."""
    return frame("contentBlockDelta", contentBlockIndex=block, delta={"text": said})


def metadata(**usage: Any) -> bytes:
    """The end of a stream in Converse, with its usage."""
    return frame("messageStop", stopReason="end_turn") + frame("metadata", usage=usage, metrics={"latencyMs": 9})


def chunk(kind: str, **members: Any) -> bytes:
    """An event of Anthropic's stream in a message of InvokeModel's."""
    event = json.dumps({"type": kind} | members).encode()
    return frame("chunk", bytes=base64.b64encode(event).decode(), p="abc")
