"""Transcriptions are forms; a sound's length is bounded before, and told by the answer: in seconds, or in tokens."""

from __future__ import annotations

import json

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, read_body, wire_format
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.usage import Usage
from tests.llm.multipart import CONTENT_TYPE, form, part, sound
from tests.llm.protocols.captures import EVENT_STREAM, capture, cuts_of, names_in, tapped
from tests.llm.protocols.sounds import wav

NAME = "openai_transcriptions"
FORMAT = wire_format(NAME)
PATH = "/v1/audio/transcriptions"
MODEL = part("model", "whisper-1")
FILE = part("file", sound(20), filename="call.wav", more="Content-Type: audio/wav\r\n")


def heard(input_tokens: int, audio_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens=input_tokens, input_audio_tokens=audio_tokens, output_tokens=output_tokens)


def lasting(seconds: int) -> Usage:
    return Usage(units={"second": seconds})


EXPECTED = {
    "tokens.json": heard(14, 14, 45),
    "hostile.json": heard(31, 30, 9),
    "logprobs.json": heard(21, 10, 2),
    "duration.json": lasting(3),
    "fraction.json": lasting(9),
    "verbose.json": lasting(9),
    "long-verbose.json": lasting(612),
    "groq-verbose.json": lasting(19),
    "groq-verbose-short.json": lasting(10),
    "groq-verbose-long.json": lasting(6001),
    "short.sse": heard(14, 14, 5),
    "done-mark.sse": heard(24, 20, 5),
    "hostile.sse": heard(50, 40, 44),
    "long.sse": heard(9000, 8900, 2000),
}
UNTOLD = {
    *("without.json", "nothing-counted.json", "contradiction.json", "error-mid-stream.sse"),
    *("plain.text", "subtitles.srt", "subtitles.vtt"),
}
TYPES = {"json": "application/json", "sse": EVENT_STREAM}


def answer(name: str, end: int | None = None) -> Answer:
    kind = TYPES.get(name.rpartition(".")[2], "text/plain; charset=utf-8")
    return tapped(capture(NAME, name)[:end], content_type=kind, complete=end is None)


def read(*parts: bytes, path: str = PATH) -> ModelRequest:
    return FORMAT.parse_request(read_body(NAME, form(MODEL, *parts), CONTENT_TYPE), Asked(path=path))


def test_a_transcription_is_held_at_the_length_of_its_sound_and_the_models_context() -> None:
    request = read(FILE, part("prompt", "ZyntriQix"), part("stream", "true"), part("language", "en"))

    assert (request.model, request.stream, request.is_divisible) == ("whisper-1", True, False)
    assert (request.units, request.unbounded_units) == ({"second": 21}, ())
    assert (request.prompt.texts, request.prompt.has_media) == (("ZyntriQix",), True)
    assert read(FILE).stream is False


def test_the_least_that_a_vendor_bills_is_held_of_a_short_sound() -> None:
    assert read(part("file", b"ID3", filename="a.mp3")).units == {"second": 10}


def test_a_file_whose_size_says_nothing_of_its_length_is_said_to_have_no_bound() -> None:
    request = read(part("file", b"OggS".ljust(75_000, b"\0"), filename="a.ogg"))

    assert (request.units, request.unbounded_units) == ({"second": 100}, ("second",))


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ((), "file"),
        ((part("file", "https://example.org/a.mp3"),), "file"),
        ((part("file", wav(bytes(50_000), sample_rate=1, bits=8), filename="a.wav"),), "file"),
        ((FILE, part("stream", "True")), "stream"),
        ((FILE, part("response_format", "docx")), "response_format"),
        ((FILE, part("chunking_strategy", "auto")), "chunking_strategy"),
        ((FILE, part("url", "https://example.org")), "url"),
        ((FILE, part("prompt", b"x", filename="p")), "prompt"),
        ((FILE, part("model[]", "gpt-4o-transcribe")), "model[]"),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(parts: tuple[bytes, ...], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(*parts)

    assert caught.value.param == param


def test_only_forms_at_its_own_paths_are_read() -> None:
    with pytest.raises(InvalidRequest, match="The path must be"):
        read(FILE, path="/v1/audio/%74ranscriptions")
    with pytest.raises(InvalidRequest, match="Send a form"):
        read_body(NAME, b'{"model":"whisper-1"}', "application/json")


@pytest.mark.parametrize("path", [PATH, "/v1/audio/translations"])
def test_the_provider_gets_its_own_model_name_at_the_same_path(path: str) -> None:
    body = read_body(NAME, form(MODEL, FILE), CONTENT_TYPE)
    request = FORMAT.parse_request(body, Asked(path=path))

    def changes(provider_model: str) -> dict[str, object]:
        return FORMAT.upstream_changes(body, request, provider_model=provider_model, granted_max_tokens=5)

    assert changes("theirs") == {"model": "theirs"}
    assert changes("whisper-1") == {}
    assert FORMAT.upstream_target("/v1", request, "x") == Target(path=path)
    assert protocol_of_path(path) == NAME


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly_and_cut_anywhere_it_is_unknown(name: str) -> None:
    body = capture(NAME, name)
    # Whatever follows the event that tells usage, an end mark or a blank line, may be missing.
    told = body.index(b"\n\n", body.rindex(b"text.done")) + 2 if b"text.done" in body else len(body)

    assert FORMAT.read_answer(answer(name)) == Reading(usage=EXPECTED[name])
    for end in cuts_of(body):
        usage = FORMAT.read_answer(answer(name, end)).usage
        assert usage == (EXPECTED[name] if end >= told else None)


@pytest.mark.parametrize("name", sorted(UNTOLD))
def test_what_tells_no_usage_is_unknown_wherever_it_ends(name: str) -> None:
    for end in (None, *range(len(capture(NAME, name)))):
        assert FORMAT.read_answer(answer(name, end)) == Reading()


def test_every_capture_has_its_expectation() -> None:
    assert names_in(NAME) == EXPECTED.keys() | UNTOLD


def test_what_cannot_be_read_is_unknown() -> None:
    body = capture(NAME, "tokens.json")

    assert FORMAT.read_answer(tapped(body, encoding="gzip")) == Reading()
    for data in (b"", b"null", b"[]", b'{"usage":3}', b'{"usage":{"type":"duration","seconds":-1}}', b"\xff"):
        assert FORMAT.read_answer(tapped(data)) == Reading()
    for data in (b"", b"data: <html>\n\n", b'data: {"type":"transcript.text.done"}\n\n', b"data: x" * 9000):
        assert FORMAT.read_answer(tapped(data, content_type=EVENT_STREAM)) == Reading()


def test_forms_are_read_only_where_the_format_has_them() -> None:
    with pytest.raises(InvalidRequest, match=r"not valid JSON|JSON object"):
        read_body("openai_chat", form(MODEL), CONTENT_TYPE)
    assert read_body("openai_images", b'{"model":"m"}', "application/json") == parse_body(
        json.dumps({"model": "m"}, separators=(",", ":")).encode()
    )
