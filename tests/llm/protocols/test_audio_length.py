"""A sound never takes longer than it is held for, or is said to have no bound."""

from __future__ import annotations

import io
import struct
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.protocols.audio_length import Length, longest
from tests.llm.protocols.sounds import (
    SLOW_FRAME,
    SLOW_FRAME_SECONDS,
    SLOW_HEADER,
    chunk,
    claiming,
    extensible,
    silent_flac,
    tagged,
    wav,
)

SAMPLES = bytes(8000)


def waves(**fields: Any) -> bytes:
    return wav(SAMPLES, **fields)


@pytest.mark.parametrize(
    ("name", "sound", "seconds"),
    [
        ("plain samples take what their rate says", waves(), 5),
        ("the slowest of the header's rates counts", waves(byte_rate=1000), 9),
        ("other chunks may stand before", waves(before=chunk(b"JUNK", b"abc")), 5),
        ("a format that is named at length", waves(**extensible(1)), 5),
        ("stereo, 24 bits", waves(channels=2, bits=24), 2),
        ("fewer data than there are are data all the same", waves(data_size=2), 5),
        ("no data", wav(b""), 1),
        ("the slowest MP3", SLOW_FRAME * 1000, 27),
        ("MP3 behind a tag", tagged(SLOW_FRAME * 1000), 27),
        ("MP3 that says how many frames there are", claiming(30) + SLOW_FRAME * 30, 1),
        ("and as another program says it", claiming(30, name=b"VBRI") + SLOW_FRAME * 30, 1),
        ("MPEG 1, layer II", b"\xff\xfd\x10\x04".ljust(9950, b"\0"), 10),
    ],
)
def test_of_some_files_the_size_says_how_long_they_can_be(name: str, sound: bytes, seconds: int) -> None:
    assert longest(sound) == Length(seconds, is_bound=True), name


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("hours of silence in FLAC", silent_flac(86_400)),
        ("silence in FLAC behind a tag", tagged(silent_flac(86_400))),
        ("Opus", b"OggS\0\x02".ljust(8000, b"\0")),
        ("WebM", b"\x1a\x45\xdf\xa3".ljust(8000, b"\0")),
        ("M4A", b"\0\0\0\x20ftypM4A ".ljust(8000, b"\0")),
        ("AAC", b"\xff\xf1\x6c\x40".ljust(8000, b"\0")),
        ("samples of which more are promised than there are", waves(data_size=8001)),
        ("samples without end", waves(data_size=0xFFFFFFFF)),
        ("compressed samples", waves(kind=0x11)),
        ("a compressed format that is named at length", waves(**extensible(0x11))),
        ("a format that is not named", waves(kind=0xFFFE)),
        ("no sample rate", waves(sample_rate=0)),
        ("no bits", waves(bits=0)),
        ("two headers", waves(before=waves()[12:36])),
        ("a header that is cut", b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcddata\0\0\0\0"),
        ("nothing but a beginning", b"RIFF\0\0\0\0WAVE"),
        ("nothing but other chunks", b"RIFF\0\0\0\0WAVE".ljust(8000, b"\0")),
        ("data without a header", b"RIFF\0\0\0\0WAVEdata\0\0\0\0"),
        ("big-endian, or large", b"RIFX" + waves()[4:]),
        ("MP3 of a free bit rate", b"\xff\xf3\x00\xc4".ljust(8000, b"\0")),
        ("MP3 of no sample rate", b"\xff\xf3\x1c\xc4".ljust(8000, b"\0")),
        ("MP3 of a version that is none", b"\xff\xeb\x10\xc4".ljust(8000, b"\0")),
        ("MP3 that promises more than there is", claiming(10**6) + SLOW_FRAME * 30),
        ("and as another program says it", claiming(10**6, name=b"VBRI") + SLOW_FRAME * 30),
        ("a tag and nothing else", tagged(b"")),
        ("a tag that is longer than the file", tagged(b"", tag_bytes=0x0FFFFFFF >> 8)[:200]),
        ("nothing", b""),
    ],
)
def test_any_other_file_is_said_to_have_no_bound(name: str, sound: bytes) -> None:
    assert longest(sound).is_bound is False, name


@given(
    channels=st.integers(1, 4),
    width=st.integers(1, 4),
    rate=st.integers(1, 200_000),
    frames=st.integers(0, 5000),
    cut=st.integers(0, 200),
)
def test_what_pythons_own_reader_hears_in_a_wav_file_is_within_the_bound(
    channels: int, width: int, rate: int, frames: int, cut: int
) -> None:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(channels * width * frames))
    whole = data.getvalue()

    length = longest(whole)

    assert (length.is_bound, length.seconds * rate >= frames) == (True, True)
    assert longest(whole[: len(whole) - cut]).is_bound is (cut == 0 or len(whole) == 0)


@given(st.data())
def test_frames_of_any_kind_of_mpeg_audio_are_within_the_bound(data: st.DataObject) -> None:
    versions = {0: (11_025, 12_000, 8_000), 2: (22_050, 24_000, 16_000), 3: (44_100, 48_000, 32_000)}
    sound, seconds = SLOW_HEADER + bytes(22), SLOW_FRAME_SECONDS
    for version, rate_at, padded in data.draw(
        st.lists(st.tuples(st.sampled_from(sorted(versions)), st.integers(0, 2), st.booleans()), max_size=300)
    ):
        rate, samples = versions[version][rate_at], 1152 if version == 3 else 576
        bits = 32_000 if version == 3 else 8_000
        header = struct.pack(">BBBB", 0xFF, 0xE3 | version << 3, 0x10 | rate_at << 2 | padded << 1, 0xC4)
        sound += header + bytes(samples // 8 * bits // rate + padded - 4)
        seconds += samples / rate

    length = longest(sound)
    assert (length.is_bound, length.seconds >= seconds) == (True, True)


@given(st.binary(max_size=300), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"ID3", b"\xff\xfb", b"fLaC", b"OggS"]))
def test_no_bytes_are_too_strange_to_be_looked_at(rest: bytes, start: bytes) -> None:
    assert longest(memoryview(start + rest)).seconds >= 0
