"""Files of sound as their formats have them, true or not, for the tests of how long they can be."""

from __future__ import annotations

import struct
from typing import Final

# An MP3 frame of 8 kbit/s at 22,050 samples a second: the fewest bytes for the time that they take.
SLOW_HEADER: Final = b"\xff\xf3\x10\xc4"
SLOW_FRAME: Final = SLOW_HEADER + bytes(22)
SLOW_FRAME_SECONDS: Final = 576 / 22_050


def chunk(name: bytes, data: bytes, *, size: int | None = None) -> bytes:
    """A part of a RIFF file, maybe with another size than it has."""
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def wav(
    data: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    sample_rate: int = 1000,
    bits: int = 16,
    byte_rate: int | None = None,
    before: bytes = b"",
    extra: bytes = b"",
    data_size: int | None = None,
) -> bytes:
    """A WAV file with these samples, and chunks in front of them."""
    frame_bytes = channels * bits // 8
    rate = sample_rate * frame_bytes if byte_rate is None else byte_rate
    header = struct.pack("<HHIIHH", kind, channels, sample_rate, rate, frame_bytes, bits) + extra
    rest = b"WAVE" + before + chunk(b"fmt ", header) + chunk(b"data", data, size=data_size)
    return b"RIFF" + struct.pack("<I", len(rest)) + rest


def extensible(kind: int) -> dict[str, object]:
    """What makes a WAV file name its format at length."""
    return {"kind": 0xFFFE, "extra": struct.pack("<HHI", 22, 16, 0) + struct.pack("<H", kind) + bytes(14)}


def tagged(sound: bytes, *, tag_bytes: int = 300) -> bytes:
    """Behind an ID3 tag of so many bytes."""
    size = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + size + bytes(tag_bytes) + sound


def claiming(frames: int, *, name: bytes = b"Xing") -> bytes:
    """An MP3 frame of 64 kbit/s that says how many follow."""
    count = (b"\0" * 10 if name == b"VBRI" else b"\0\0\0\x01") + frames.to_bytes(4, "big")
    return (b"\xff\xf3\x80\xc4" + bytes(9) + name + count).ljust(208, b"\0")


def silent_flac(seconds: int) -> bytes:
    """What FLAC makes of silence, about: a header, and 14 bytes for each 65,535 samples at 8 kHz."""
    information = struct.pack(">HH", 65_535, 65_535) + bytes(6) + (8000 << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
    frames = -(-seconds * 8000 // 65_535)
    return b"fLaC\x80\0\0\x22" + information + b"\xff\xf8\x7d\x08\0\xff\xfe\0\0\0\0\0\0\0" * frames
