"""How long a sound may be at most, from its bytes: before a call, nobody knows what the provider will bill.

Two kinds of files take at least so many bytes for each second, whatever they hold. In a WAV file of plain samples the
rate stands in the header, by which its reader goes. MPEG audio (MP3) has no bit rate below 8 kbit/s but for a free one,
which readers of streams do not take (ISO/IEC 11172-3 and 13818-3 §2.4.2.3). What such a file says of its own length is
believed only where that is no longer.

Of any other file no size says how long it is: FLAC and Opus have hours of silence in some hundred bytes, and containers
(MP4, WebM, Ogg) may set any times. For those, 6 kbit/s is a guess, the least that a codec of speech in them is meant
for (Opus, RFC 6716 §2.1.1).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_GUESSED_BYTES_PER_SECOND: Final = 750
# PCM, floating point, A-law, µ-law: as many bytes for each sample.
_PLAIN_FORMATS: Final = frozenset({0x0001, 0x0003, 0x0006, 0x0007})
_EXTENSIBLE: Final = 0xFFFE
_SUBFORMAT_AT: Final = 24
_MOST_HEADER_CHUNKS: Final = 16

# 8 kbit/s at 11,025 or 22,050 samples a second, where frames are shortened to whole bytes: 52 bytes in 52.245 ms.
_LEAST_MPEG_BYTES_PER_SECOND: Final = 995
_LONGEST_MPEG_FRAME_BYTES: Final = 2881
_ID3_HEADER_BYTES: Final = 10
# By the two bits of a frame's header: MPEG 2.5, none, MPEG 2, MPEG 1; no layer, III, II, I.
_SAMPLE_RATES: Final = ((11_025, 12_000, 8_000), (), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
_HALF_SAMPLES: Final = (0, 576, 1152, 384)
_FULL_SAMPLES: Final = (0, 1152, 1152, 384)
_MPEG_1: Final = 3


class Length(NamedTuple):
    """The most seconds that a sound takes; where it is no bound, it may be longer."""

    seconds: int
    is_bound: bool


def longest(sound: bytes | memoryview) -> Length:
    """How long the sound in such a file can be."""
    rate = _wav_bytes_per_second(sound) or _mpeg_bytes_per_second(sound)
    return Length(-(-len(sound) // (rate or _GUESSED_BYTES_PER_SECOND)), is_bound=rate is not None)


def _wav_bytes_per_second(sound: bytes | memoryview) -> int | None:
    """Of a WAV file of plain samples, with one `fmt ` chunk in front of data that are all there; None for any other."""
    if sound[:4] != b"RIFF" or sound[8:12] != b"WAVE":
        return None
    found: int | None = None
    at = 12
    for _ in range(_MOST_HEADER_CHUNKS):
        if at + 8 > len(sound):
            return None
        name, size = struct.unpack_from("<4sI", sound, at)
        if name == b"data":
            return found if at + 8 + size <= len(sound) else None
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


class _Frame(NamedTuple):
    """What the header of a frame of MPEG audio says."""

    samples: int
    sample_rate: int


def _mpeg_bytes_per_second(sound: bytes | memoryview) -> int | None:
    """Of a file that begins with a frame of MPEG audio, maybe behind a tag, and claims to be no longer than its bytes
    allow; None for any other."""
    at = _tag_bytes(sound)
    frame = _frame(bytes(sound[at : at + 4]))
    if frame is None:
        return None
    claimed_frames = _claimed_frames(bytes(sound[at : at + _LONGEST_MPEG_FRAME_BYTES]))
    bound_seconds = -(-len(sound) // _LEAST_MPEG_BYTES_PER_SECOND)
    if claimed_frames * frame.samples > bound_seconds * frame.sample_rate:
        return None
    return _LEAST_MPEG_BYTES_PER_SECOND


def _tag_bytes(sound: bytes | memoryview) -> int:
    """The size of the ID3v2 tag in front; 0 where there is none (https://id3.org/id3v2.4.0-structure §3.1)."""
    if len(sound) < _ID3_HEADER_BYTES or sound[:3] != b"ID3":
        return 0
    size = 0
    for seven_bits in sound[6:_ID3_HEADER_BYTES]:
        size = size << 7 | seven_bits & 0x7F
    return _ID3_HEADER_BYTES + size


def _frame(header: bytes) -> _Frame | None:
    """What a frame's four bytes say; None where they are none's, or those of a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate, rate = header[2] >> 4, header[2] >> 2 & 3
    if not layer or rate == 3 or not _SAMPLE_RATES[version] or bit_rate in (0, 15):
        return None
    samples = (_FULL_SAMPLES if version == _MPEG_1 else _HALF_SAMPLES)[layer]
    return _Frame(samples=samples, sample_rate=_SAMPLE_RATES[version][rate])


def _claimed_frames(first: bytes) -> int:
    """The most frames that a file's first one says to follow, in either of the usual ways; 0 where it does not say."""
    most = 0
    for name, count_at in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = first.find(name)
        if at != -1:
            most = max(most, int.from_bytes(first[at + count_at : at + count_at + 4]))
    return most
