"""OpenAI's speech (POST /v1/audio/speech): billed by the character that is read out, or by tokens.

Plain audio tells no usage. Of a model that is billed by tokens only the event stream does (`stream_format` "sse");
otherwise such a call is charged what is held for it, its model's greatest output.
https://developers.openai.com/api/reference/resources/audio/subresources/speech/methods/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import Check, check_members, is_one_of, is_text, model_name, passes
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import openai_credential_headers, openai_error_body
from kong_plugins.llm.protocols.openai_media_usage import read_media_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

_UNTOUCHED: Final = frozenset({"response_format", "speed", "voice"})


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    text = body.get("input")
    if not isinstance(text, str) or not text:
        raise InvalidRequest("input must be the text that is to be read out.", param="input")
    return ModelRequest(
        model=model_name(body),
        prompt=Prompt(texts=(text, body.get("instructions") or ""), message_count=1),
        stream=body.get("stream_format") == "sse",
        wants_usage=True,
        is_divisible=False,
        units={"character": len(text)},
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model."""
    return {} if body.get("model") == provider_model else {"model": provider_model}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/audio/speech")


def read_answer(answer: Answer) -> Reading:
    """The provider's usage, or that there is what was asked for."""
    if answer.is_event_stream and answer.is_readable:
        return read_media_stream(answer, last_events=("speech.audio.done",), output="audio")
    return Reading(as_asked=answer.complete)


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "input": passes,
    "instructions": is_text,
    "stream_format": is_one_of("audio", "sse"),
}
