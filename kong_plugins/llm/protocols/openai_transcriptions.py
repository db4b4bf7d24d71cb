"""OpenAI's transcriptions and translations of speech (POST /v1/audio/transcriptions and /v1/audio/translations): forms,
billed by the second or by tokens.

How long a sound is, is only bounded before (`audio_length`), and not of every file; the answer tells, where it is JSON
or an event stream. Texts and subtitles tell nothing, and are charged what is held. What splits a sound into pieces that
are read one by one (`chunking_strategy`) is refused: together these may take more than the model's context and greatest
output.
https://developers.openai.com/api/reference/resources/audio/subresources/transcriptions/methods/create
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.forms import Attachment, with_types
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.audio_length import Length, longest
from kong_plugins.llm.protocols.checks import Check, check_members, is_flag, is_one_of, is_text, model_name, passes
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import openai_credential_headers, openai_error_body
from kong_plugins.llm.protocols.openai_transcription_usage import LEAST_SECONDS, read_transcript
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt
from kong_plugins.llm.usage import SECOND

READS_TARGET: Final = True
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

PATH: Final = r"/v1/audio/(?:transcriptions|translations)"
_WAY: Final = re.compile(r"/audio/(transcriptions|translations)$")
_MOST_SECONDS: Final = 12 * 3600
_UNTOUCHED: Final = frozenset({"include[]", "language", "temperature", "timestamp_granularities[]"})


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: the path is none of this format's, or a field has a wrong type or value, or cannot be metered.
    """
    way = _WAY.search(asked.path)
    if way is None:
        raise InvalidRequest("The path must be /v1/audio/transcriptions or /v1/audio/translations.")
    body = with_types(body, numbers=(), flags=("stream",))
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    length = _length(body)
    return ModelRequest(
        model=model_name(body),
        prompt=Prompt(texts=(body.get("prompt") or "",), message_count=1, has_media=True),
        stream=body.get("stream") is True,
        wants_usage=True,
        is_divisible=False,
        units={SECOND: max(length.seconds, LEAST_SECONDS)},
        unbounded_units=() if length.is_bound else (SECOND,),
        way=way[1],
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model."""
    return {} if body.get("model") == provider_model else {"model": provider_model}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=f"{base_path.rstrip('/')}/audio/{request.way}")


def read_answer(answer: Answer) -> Reading:
    """The provider's usage."""
    return read_transcript(answer)


def _length(body: Body) -> Length:
    file = body.get("file")
    if not isinstance(file, Attachment):
        raise InvalidRequest("file must be the sound, as a file in the form.", param="file")
    length = longest(memoryview(body.data)[file.start : file.end])
    if length.seconds > _MOST_SECONDS:
        raise InvalidRequest(
            f"By its size and header the sound may take {length.seconds // 3600} hours, and at most "
            f"{_MOST_SECONDS // 3600} are transcribed at once. Send it in several files, or with a true sample rate.",
            param="file",
        )
    return length


_CHECKS: Final[Mapping[str, Check]] = {
    "file": passes,
    "model": passes,
    "prompt": is_text,
    "response_format": is_one_of("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    "stream": is_flag,
}
