"""OpenAI's images and speech, billed by the piece or by tokens: noise of the right size.

Source: https://developers.openai.com/api/reference/resources/images and /audio
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.answers import openai_form
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM
from demo.simulator.tokens import count_tokens

_BYTES = 30_000
_MOST_CHARACTERS = 4096
# https://developers.openai.com/api/docs/guides/image-generation#cost-and-latency, of a square picture
_IMAGE_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
_TOKENS_PER_PARTIAL_IMAGE = 100
_TOKENS_PER_PICTURE = 194
_CHARACTERS_PER_AUDIO_TOKEN = 2


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A request that can be served: for `pieces` of one name, or for tokens, where the model has no price of pieces."""

    model: DemoModel
    input_tokens: int
    output_tokens: int
    count: int
    pieces: dict[str, int]
    stream: bool
    content_type: str = EVENT_STREAM
    image_tokens: int = 0
    event: str = "image_generation"


class Images:
    """One answer: all of its pictures."""

    thought_tokens = 0

    def __init__(self, request: MediaRequest, call: Call, behaviour: Behaviour) -> None:
        self.content_type = request.content_type
        self.choices = request.count
        self.tokens = request.output_tokens
        self._is_by_piece = bool(request.pieces)
        self._event = request.event
        self._call = call
        call.pieces, call.input_image_tokens = request.pieces, request.image_tokens

    def whole(self) -> dict[str, Any]:
        data = [{"b64_json": _noise(str(index))} for index in range(self.choices)]
        return {"created": 1713833628, "data": data} | ({} if self._is_by_piece else {"usage": self._usage()})

    def opening(self) -> bytes:
        self._call.output_tokens = self.tokens
        return _event(f"{self._event}.partial_image", b64_json=_noise("partial"), partial_image_index=0)

    def words(self) -> Iterator[bytes]:
        yield from ()

    def closing(self) -> bytes:
        return _event(f"{self._event}.completed", b64_json=_noise("whole"), usage=self._usage())

    def _usage(self) -> dict[str, Any]:
        call = self._call
        return {
            "input_tokens": call.input_tokens,
            "input_tokens_details": {
                "text_tokens": call.input_tokens - call.input_image_tokens,
                "image_tokens": call.input_image_tokens,
            },
            "output_tokens": call.output_tokens,
            "total_tokens": call.input_tokens + call.output_tokens,
        }


class Speech:
    """One answer: the sound, or the events that carry it."""

    thought_tokens = 0
    choices = 1

    def __init__(self, request: MediaRequest, call: Call, behaviour: Behaviour) -> None:
        self.content_type = request.content_type
        self.tokens = request.output_tokens
        self._call = call
        call.pieces = request.pieces

    def whole(self) -> bytes:
        return base64.b64decode(_noise("sound"))

    def opening(self) -> bytes:
        self._call.output_tokens = self.tokens
        return _event("speech.audio.delta", audio=_noise("sound"))

    def words(self) -> Iterator[bytes]:
        yield from ()

    def closing(self) -> bytes:
        read, written = self._call.input_tokens, self._call.output_tokens
        usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        return _event("speech.audio.done", usage=usage)


def _read_image(body: dict[str, Any], model: DemoModel) -> MediaRequest:
    """Raises: ProviderError: OpenAI would refuse it with status 400."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise invalid("You must provide a prompt.", "prompt")
    count, stream = body.get("n") or 1, body.get("stream") is True
    if model.price.usd_per_piece:
        name = f"image:{body.get('quality') or 'standard'}:{body.get('size') or '1024x1024'}"
        if name not in model.price.usd_per_piece or stream:
            raise invalid("Invalid value for 'size' or 'quality', or this model cannot stream.", "size")
        return MediaRequest(model, 0, 0, count, {name: count}, stream=False)
    partial_tokens = (body.get("partial_images") or 0) * _TOKENS_PER_PARTIAL_IMAGE
    written_tokens = _IMAGE_TOKENS[body.get("quality") or "medium"] + partial_tokens
    return MediaRequest(model, count_tokens(prompt), written_tokens, count, {}, stream)


def _read_edit(form: dict[str, Any], model: DemoModel) -> MediaRequest:
    """Raises: ProviderError: OpenAI would refuse it with status 400."""
    pictures = [each for name in ("image", "image[]") for each in _listed(form.get(name))]
    if not pictures or not all(isinstance(each, bytes) for each in pictures):
        raise invalid("Missing required parameter: 'image'.", "image")
    prompt = form.get("prompt") if form["operation"] == "edits" else " "
    numbers = {name: int(form[name]) for name in ("n", "partial_images") if name in form}
    body = form | numbers | {"prompt": prompt, "stream": form.get("stream") == "true"}
    request = _read_image(body, model)
    if request.pieces:
        return request
    image_tokens = len(pictures) * _TOKENS_PER_PICTURE
    return replace(
        request, input_tokens=request.input_tokens + image_tokens, image_tokens=image_tokens, event="image_edit"
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _read_speech(body: dict[str, Any], model: DemoModel) -> MediaRequest:
    """Raises: ProviderError: OpenAI would refuse it with status 400."""
    text = body.get("input")
    if not isinstance(text, str) or not 0 < len(text) <= _MOST_CHARACTERS:
        raise invalid(f"'input' must be a string of 1 to {_MOST_CHARACTERS} characters.", "input")
    stream = body.get("stream_format") == "sse"
    if model.price.usd_per_piece:
        if stream:
            raise invalid("stream_format 'sse' is not supported for this model.", "stream_format")
        return MediaRequest(model, 0, 0, 1, {"character": len(text)}, stream=False, content_type="audio/mpeg")
    spoken_tokens = len(text) // _CHARACTERS_PER_AUDIO_TOKEN + 1
    content_type = EVENT_STREAM if stream else "audio/mpeg"
    return MediaRequest(model, count_tokens(text), spoken_tokens, 1, {}, stream, content_type)


def _noise(seed: str) -> str:
    return base64.b64encode(random.Random(seed).randbytes(_BYTES)).decode()


def _event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


IMAGES = openai_form("openai_images", _read_image, Images)
EDITS = openai_form("openai_images", _read_edit, Images)
SPEECH = openai_form("openai_speech", _read_speech, Speech)
