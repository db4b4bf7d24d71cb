"""Images and speech: billed by the tokens that the answer tells behind its megabytes, or by the pieces asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.body import parse_body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols import protocol_of_path, read_body, wire_format
from kong_plugins.llm.protocols.answers import Reading
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.usage import Usage
from tests.llm.multipart import CONTENT_TYPE, form, part
from tests.llm.protocols.captures import EVENT_STREAM, capture, cuts_of, names_in, tapped, tapped_capture

IMAGES, SPEECH = "openai_images", "openai_speech"
PATHS = {IMAGES: "/v1/images/generations", SPEECH: "/v1/audio/speech"}
SMALLEST = {IMAGES: {"model": "m", "prompt": "A parcel"}, SPEECH: {"model": "m", "input": "Hello", "voice": "alloy"}}


def drawn(
    input_tokens: int, output_tokens: int, *, input_image_tokens: int = 0, output_image_tokens: int | None = None
) -> Usage:
    """Usage whose output is all of images, unless it says otherwise."""
    return Usage(
        input_tokens=input_tokens,
        input_image_tokens=input_image_tokens,
        output_tokens=output_tokens,
        output_image_tokens=output_tokens if output_image_tokens is None else output_image_tokens,
    )


def spoken(input_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, output_audio_tokens=output_tokens)


EXPECTED = {
    (IMAGES, "gpt-image.json"): drawn(50, 4160),
    (IMAGES, "gpt-image-details.json"): drawn(100, 1100, input_image_tokens=40, output_image_tokens=1056),
    (IMAGES, "two-usages.json"): drawn(30, 272),
    (IMAGES, "hostile.json"): drawn(31, 272),
    (IMAGES, "gpt-image.sse"): drawn(50, 4260),
    (IMAGES, "short.sse"): drawn(12, 272),
    (IMAGES, "edit.json"): drawn(402, 1056, input_image_tokens=388),
    (IMAGES, "edit.sse"): drawn(402, 1056, input_image_tokens=388),
    (SPEECH, "long.sse"): spoken(14, 101),
    (SPEECH, "short.sse"): spoken(3, 20),
}
AS_ASKED = {(IMAGES, "dall-e-3.json"), (IMAGES, "dall-e-2-base64.json"), (SPEECH, "sound.mp3")}
UNTOLD = {(IMAGES, "nothing.json")}


def read(protocol: str, **members: Any) -> ModelRequest:
    body = json.dumps(SMALLEST[protocol] | members).encode()
    return wire_format(protocol).parse_request(parse_body(body), Asked(path=PATHS[protocol]))


def reading(protocol: str, name: str, end: int | None = None) -> Reading:
    return wire_format(protocol).read_answer(tapped_capture(protocol, name, end=end))


def changed(protocol: str, provider_model: str) -> dict[str, object]:
    body = parse_body(json.dumps(SMALLEST[protocol]).encode())
    form = wire_format(protocol)
    request = form.parse_request(body, Asked(path=PATHS[protocol]))
    return form.upstream_changes(body, request, provider_model=provider_model, granted_max_tokens=5)


@pytest.mark.parametrize(
    ("members", "units", "partial_tokens"),
    [
        ({}, {"image:standard:1024x1024": 1}, 0),
        ({"n": 3, "quality": "hd", "size": "1792x1024"}, {"image:hd:1792x1024": 3}, 0),
        ({"quality": "auto", "size": "auto", "background": "opaque"}, {"image:auto:auto": 1}, 0),
        ({"stream": True, "partial_images": 3, "quality": "low"}, {"image:low:1024x1024": 1}, 300),
        ({"partial_images": 0, "n": None, "user": "alice"}, {"image:standard:1024x1024": 1}, 0),
    ],
)
def test_an_image_is_asked_for_by_quality_and_size(
    members: dict[str, Any], units: dict[str, int], partial_tokens: int
) -> None:
    request = read(IMAGES, **members)

    assert (request.units, request.choices) == (units, sum(units.values()))
    assert (request.more_thinking_tokens, request.is_divisible, request.prompt.texts) == (
        partial_tokens,
        False,
        ("A parcel",),
    )
    assert request.stream == bool(members.get("stream"))


def test_speech_is_asked_for_by_its_characters() -> None:
    request = read(SPEECH, input="à bientôt 🎁", instructions="Cheerfully", stream_format="sse", speed=1.5)

    assert (request.units, request.stream, request.is_divisible) == ({"character": 11}, True, False)
    assert request.prompt.texts == ("à bientôt 🎁", "Cheerfully")
    assert read(SPEECH, stream_format="audio").stream is False


@pytest.mark.parametrize(
    ("protocol", "member", "value"),
    [
        (IMAGES, "prompt", None),
        (IMAGES, "prompt", ["A parcel"]),
        (IMAGES, "model", None),
        (IMAGES, "n", 0),
        (IMAGES, "n", 11),
        (IMAGES, "partial_images", 4),
        (IMAGES, "partial_images", -1),
        (IMAGES, "quality", 5),
        (IMAGES, "size", "1024x1024:free"),
        (IMAGES, "stream", "yes"),
        (IMAGES, "svg", {"model": "gpt-5"}),
        (IMAGES, "frame_count", 9),
        (SPEECH, "input", None),
        (SPEECH, "input", ""),
        (SPEECH, "input", ["Hello"]),
        (SPEECH, "instructions", 5),
        (SPEECH, "stream_format", "wav"),
        (SPEECH, "stream", True),
    ],
)
def test_what_cannot_be_metered_is_refused_by_name(protocol: str, member: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(protocol, **{member: value})

    assert caught.value.param == member


PICTURE = part("image", b"\x89PNG", filename="a.png", more="Content-Type: image/png\r\n")
ASKED = (part("model", "m"), part("prompt", "A parcel"))


def drawn_over(*parts: bytes, way: str = "edits") -> ModelRequest:
    body = read_body(IMAGES, form(*parts), CONTENT_TYPE)
    return wire_format(IMAGES).parse_request(body, Asked(path=f"/v1/images/{way}"))


def test_an_edit_is_a_form_whose_pictures_may_fill_the_context() -> None:
    fields = {"n": "2", "size": "512x512", "quality": "low", "input_fidelity": "high", "partial_images": "0"}
    pictures = [part("image[]", b"1", filename="a.png"), part("image[]", b"2", filename="b.png"), PICTURE]
    request = drawn_over(*ASKED, *pictures, *(part(name, value) for name, value in fields.items()))

    assert (request.units, request.choices) == ({"image:low:512x512": 2}, 2)
    assert (request.prompt.texts, request.prompt.has_media, request.stream) == (("A parcel",), True, False)
    streamed = drawn_over(*ASKED, PICTURE, part("stream", "true"), part("partial_images", "2"))
    assert (streamed.stream, streamed.more_thinking_tokens) == (True, 200)


@pytest.mark.parametrize("way", ["edits", "variations"])
def test_edits_and_variations_go_to_the_same_path_at_the_provider(way: str) -> None:
    prompt = ASKED if way == "edits" else ASKED[:1]
    request = drawn_over(*prompt, PICTURE, way=way)

    target = wire_format(IMAGES).upstream_target("/v1", request, "x")
    assert target == Target(path=f"/v1/images/{way}")
    assert protocol_of_path(target.path) == IMAGES


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ((PICTURE,), "prompt"),
        ((part("prompt", b"x", filename="p"), PICTURE), "prompt"),
        ((ASKED[1], part("image", "https://example.org/a.png")), "image"),
        ((ASKED[1], PICTURE, part("mask", "")), "mask"),
        ((ASKED[1], part("image[]", b"1", filename="a"), part("image[]", "b")), "image[]"),
        ((ASKED[1], PICTURE, part("n", "1e1")), "n"),
        ((ASKED[1], PICTURE, part("n", "11")), "n"),
        ((ASKED[1], PICTURE, part("stream", "1")), "stream"),
        ((ASKED[1], PICTURE, part("images", "[]")), "images"),
    ],
)
def test_what_cannot_be_metered_in_a_form_is_refused_by_name(parts: tuple[bytes, ...], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        drawn_over(ASKED[0], *parts)

    assert caught.value.param == param


def test_what_comes_in_another_way_than_its_path_says_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="multipart/form-data"):
        drawn_over(*ASKED, PICTURE, way="generations")
    with pytest.raises(InvalidRequest, match="multipart/form-data"):
        wire_format(IMAGES).parse_request(parse_body(b'{"model":"m"}'), Asked(path="/v1/images/edits"))
    with pytest.raises(InvalidRequest, match="The path must be"):
        drawn_over(*ASKED, PICTURE, way="%65dits")


def test_several_images_are_not_streamed_at_once() -> None:
    with pytest.raises(InvalidRequest, match="one image at a time"):
        read(IMAGES, n=2, stream=True)


@pytest.mark.parametrize(("protocol", "path"), PATHS.items())
def test_the_provider_gets_its_own_model_name_and_nothing_else_changes(protocol: str, path: str) -> None:
    assert changed(protocol, "theirs") == {"model": "theirs"}
    assert changed(protocol, "m") == {}
    assert wire_format(protocol).upstream_target("/v1", read(protocol), "x") == Target(path=path)
    assert protocol_of_path(path) == protocol


@pytest.mark.parametrize(("protocol", "name"), EXPECTED)
def test_every_capture_is_read_exactly_and_cut_anywhere_it_is_unknown(protocol: str, name: str) -> None:
    body = capture(protocol, name)

    assert reading(protocol, name) == Reading(usage=EXPECTED[protocol, name])
    for end in cuts_of(body):
        assert reading(protocol, name, end) == Reading()


@pytest.mark.parametrize(("protocol", "name"), sorted(AS_ASKED))
def test_what_tells_no_usage_is_what_was_asked_for_once_it_is_whole(protocol: str, name: str) -> None:
    assert reading(protocol, name) == Reading(as_asked=True)
    for end in cuts_of(capture(protocol, name)):
        assert reading(protocol, name, end) == Reading()


def test_an_answer_without_an_image_is_not_what_was_asked_for() -> None:
    assert reading(IMAGES, "nothing.json") == Reading()
    assert wire_format(IMAGES).read_answer(tapped(b"<html>")) == Reading()


def test_every_capture_has_its_expectation() -> None:
    found = {(protocol, name) for protocol in (IMAGES, SPEECH) for name in names_in(protocol)}

    assert found == EXPECTED.keys() | AS_ASKED | UNTOLD


def test_usage_that_contradicts_itself_is_no_usage() -> None:
    usage = {"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"image_tokens": 6}}
    body = json.dumps({"data": [{}], "usage": usage}).encode()

    assert wire_format(IMAGES).read_answer(tapped(body)).usage is None


@pytest.mark.parametrize("protocol", [IMAGES, SPEECH])
def test_a_stream_that_tells_no_usage_is_unknown(protocol: str) -> None:
    for body in (b"", b"data: <html>\n\n", b'data: {"type":"image_generation.completed"}\n\n', b"data: x" * 9000):
        assert wire_format(protocol).read_answer(tapped(body, content_type=EVENT_STREAM)) == Reading()


def test_a_compressed_answer_is_not_read() -> None:
    assert wire_format(IMAGES).read_answer(tapped(capture(IMAGES, "short.sse"), encoding="gzip")) == Reading()
    assert wire_format(SPEECH).read_answer(
        tapped(capture(SPEECH, "short.sse"), content_type=EVENT_STREAM, encoding="gzip")
    ) == Reading(as_asked=True)
