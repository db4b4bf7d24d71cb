"""Messages of Amazon's event streams: headers, a payload, and two checksums around them.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import json
import random
import string
import struct
import zlib
from typing import Any

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_TEXT = 7
_PADDING = string.ascii_letters + string.digits


def event(kind: str, **members: Any) -> bytes:
    """An event with these members, and some padding, by which nobody on the way can tell the length of a text."""
    padding = _PADDING[: random.randint(1, len(_PADDING))]
    payload = json.dumps({**members, "p": padding}, separators=(",", ":"), ensure_ascii=False).encode()
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(_header(name, value) for name, value in names.items())
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    checked = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return checked + struct.pack(">I", zlib.crc32(checked))


def _header(name: str, value: str) -> bytes:
    return struct.pack(f">B{len(name)}sBH", len(name), name.encode(), _TEXT, len(value)) + value.encode()
