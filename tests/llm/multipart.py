"""Forms as clients write them, for the tests of what reads them."""

from __future__ import annotations

import io
import wave
from typing import Final

BOUNDARY: Final = "----formdata-4f8a2c"
CONTENT_TYPE: Final = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, value: str | bytes, *, filename: str | None = None, more: str = "") -> bytes:
    """A field, or a file, with `more` headers."""
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{file}\r\n{more}\r\n'
    return head.encode() + (value.encode() if isinstance(value, str) else value)


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """The body with these parts."""
    line = f"--{boundary}".encode()
    return b"".join(line + b"\r\n" + each + b"\r\n" for each in parts) + line + b"--\r\n"


def sound(seconds: float, *, sample_rate: int = 8000) -> bytes:
    """A silent WAV file of 16 bits."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(bytes(2 * int(seconds * sample_rate)))
    return data.getvalue()
