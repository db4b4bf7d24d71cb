"""OpenAI's transcriptions and translations, billed by the second or by tokens: words that nobody has spoken.

Source: https://developers.openai.com/api/reference/resources/audio
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.catalog import DemoModel
from demo.simulator.answers import openai_form, wanted_tokens
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import invalid
from demo.simulator.form import EVENT_STREAM
from demo.simulator.tokens import count_tokens, write_tokens

_AUDIO_TOKENS_PER_SECOND = 10
# Of sounds that the simulator cannot decode: as an MP3 of 64 kbit/s.
_BYTES_PER_SECOND = 8_000
_TEXTS = {
    "text": "{text}\n",
    "srt": "1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n{text}\n\n",
}


@dataclass(frozen=True, slots=True)
class TranscriptRequest:
    """A request that can be served: billed by its `pieces`, or by tokens, of which some are of the sound."""

    model: DemoModel
    input_tokens: int
    audio_tokens: int
    seconds: int
    pieces: dict[str, int]
    prompt: str
    answer_format: str
    stream: bool


class Transcript:
    """One answer: the words that were heard."""

    thought_tokens = 0
    choices = 1

    def __init__(self, request: TranscriptRequest, call: Call, behaviour: Behaviour) -> None:
        self.content_type = EVENT_STREAM if request.stream else "text/plain; charset=utf-8"
        seed = f"{request.prompt} {request.seconds}"
        self.tokens = min(wanted_tokens(seed, request.model.max_output_tokens, behaviour), 2000)
        self._words = write_tokens(self.tokens, seed=seed)
        self._request = request
        self._call = call
        call.pieces, call.input_audio_tokens = request.pieces, request.audio_tokens

    def whole(self) -> dict[str, Any] | bytes:
        text = "".join(self._words)
        if (template := _TEXTS.get(self._request.answer_format)) is not None:
            return template.format(text=text).encode()
        usage = {"usage": self._usage()}
        if self._request.answer_format == "json":
            return {"text": text} | usage
        segment = {"id": 0, "seek": 0, "start": 0.0, "end": float(self._request.seconds), "text": text}
        spoken = {"task": "transcribe", "language": "english", "duration": float(self._request.seconds), "text": text}
        return spoken | {"segments": [segment]} | usage

    def opening(self) -> bytes:
        return b""

    def words(self) -> Iterator[bytes]:
        for word in self._words:
            yield _event("transcript.text.delta", delta=word)

    def closing(self) -> bytes:
        return _event("transcript.text.done", text="".join(self._words), usage=self._usage())

    def _usage(self) -> dict[str, Any]:
        call = self._call
        if call.pieces:
            return {"type": "duration", "seconds": self._request.seconds}
        details = {"text_tokens": call.input_tokens - call.input_audio_tokens, "audio_tokens": call.input_audio_tokens}
        counts = {"input_tokens": call.input_tokens, "input_token_details": details}
        total = {"output_tokens": call.output_tokens, "total_tokens": call.input_tokens + call.output_tokens}
        return {"type": "tokens"} | counts | total


def _read(body: dict[str, Any], model: DemoModel) -> TranscriptRequest:
    """Raises: ProviderError: OpenAI would refuse it with status 400."""
    file, prompt = body.get("file"), body.get("prompt") or ""
    if not isinstance(file, bytes) or not file:
        raise invalid("Invalid file format or no file.", "file")
    seconds = _seconds(file)
    by_second = bool(model.price.usd_per_piece)
    answer_format = body.get("response_format") or "json"
    if answer_format not in (*_TEXTS, "json", "verbose_json") or not (by_second or answer_format in ("json", "text")):
        raise invalid("response_format is not compatible with this model.", "response_format")
    audio_tokens = 0 if by_second else seconds * _AUDIO_TOKENS_PER_SECOND
    return TranscriptRequest(
        model=model,
        input_tokens=0 if by_second else audio_tokens + count_tokens(prompt),
        audio_tokens=audio_tokens,
        seconds=seconds,
        pieces={"second": seconds} if by_second else {},
        prompt=prompt,
        answer_format=answer_format,
        # whisper-1 ignores it.
        stream=body.get("stream") == "true" and not by_second,
    )


def _seconds(sound: bytes) -> int:
    """How long the sound is, in seconds that have begun."""
    try:
        with wave.open(io.BytesIO(sound)) as file:
            frames, rate = int(file.getnframes()), int(file.getframerate())
            return -(-frames // rate)
    except (wave.Error, EOFError):
        return -(-len(sound) // _BYTES_PER_SECOND)


def _event(kind: str, **members: Any) -> bytes:
    return f"data: {json.dumps({'type': kind, **members}, separators=(',', ':'))}\n\n".encode()


TRANSCRIPTIONS = openai_form("openai_transcriptions", _read, Transcript)
