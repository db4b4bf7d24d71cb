"""How long a sound may be at most, from its bytes: before a call, nobody knows what the provider will bill.

A WAV file of plain samples has so many bytes a second, which its header says and its reader goes by; what it says of
its own length is not believed. Of everything else only the size is looked at: no codec of speech that these containers
hold is meant for less than 6 kbit/s (Opus, RFC 6716 §2.1.1). A file that is still longer, such as hours of silence in
FLAC, costs what the provider says in the end, which is then more than was held.
"""

from __future__ import annotations

import struct
from typing import Final

_LEAST_BYTES_PER_SECOND: Final = 750
# PCM, floating point, A-law, µ-law: as many bytes for each sample.
_PLAIN_FORMATS: Final = frozenset({0x0001, 0x0003, 0x0006, 0x0007})
_EXTENSIBLE: Final = 0xFFFE
_SUBFORMAT_AT: Final = 24
_MOST_HEADER_CHUNKS: Final = 16


def most_seconds(sound: bytes | memoryview) -> int:
    """The most seconds that the sound in such a file can take."""
    return -(-len(sound) // (_wav_bytes_per_second(sound) or _LEAST_BYTES_PER_SECOND))


def _wav_bytes_per_second(sound: bytes | memoryview) -> int | None:
    """Of a WAV file of plain samples, with one `fmt ` chunk in front of its data; None for any other."""
    if sound[:4] != b"RIFF" or sound[8:12] != b"WAVE":
        return None
    found: int | None = None
    at = 12
    for _ in range(_MOST_HEADER_CHUNKS):
        if at + 8 > len(sound):
            return None
        name, size = struct.unpack_from("<4sI", sound, at)
        if name == b"data":
            return found
        if name == b"fmt ":
            rate = _plain_rate(sound[at + 8 : at + 8 + size])
            if found is not None or rate is None:
                return None
            found = rate
        # Chunks begin at even offsets.
        at += 8 + size + size % 2
    return None


def _plain_rate(header: bytes | memoryview) -> int | None:
    """The bytes of a second, whichever of the header's numbers is gone by; None where they make no sense."""
    if len(header) < 16:
        return None
    kind, channels, sample_rate, byte_rate, frame_bytes, bits = struct.unpack_from("<HHIIHH", header)
    if kind == _EXTENSIBLE and len(header) >= _SUBFORMAT_AT + 2:
        (kind,) = struct.unpack_from("<H", header, _SUBFORMAT_AT)
    rates = (byte_rate, sample_rate * frame_bytes, sample_rate * channels * (bits // 8))
    return min(rates) if kind in _PLAIN_FORMATS and min(rates) > 0 else None
