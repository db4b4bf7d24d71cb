"""OpenAI's images (POST /v1/images/generations): billed by tokens, which the answer tells, or by the picture.

No member of a request bounds the tokens of a picture: a model's greatest output is what one picture may take.
https://developers.openai.com/api/reference/resources/images/methods/generate
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import Check, check_members, is_count, is_flag, is_text, model_name, passes
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import openai_credential_headers, openai_error_body
from kong_plugins.llm.protocols.openai_media_usage import read_media, read_media_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt

READS_TARGET: Final = False
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

_MAX_IMAGES: Final = 10
_MAX_PARTIAL_IMAGES: Final = 3
# https://developers.openai.com/api/docs/guides/image-generation#partial-images-cost
_TOKENS_PER_PARTIAL_IMAGE: Final = 100
# What a model that is billed by the picture draws where it is not told.
_STANDARD_QUALITY: Final = "standard"
_STANDARD_SIZE: Final = "1024x1024"
_UNTOUCHED: Final = frozenset(
    {"background", "moderation", "output_compression", "output_format", "response_format", "safety_identifier", "style"}
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: a member has a wrong type or value, or cannot be metered.
    """
    check_members(body, _CHECKS, untouched=_UNTOUCHED)
    prompt, count = body.get("prompt"), body.get("n") or 1
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a text.", param="prompt")
    if body.get("stream") and count > 1:
        raise InvalidRequest("Only one image at a time can be streamed through this gateway.", param="n")
    quality, size = body.get("quality") or _STANDARD_QUALITY, body.get("size") or _STANDARD_SIZE
    return ModelRequest(
        model=model_name(body),
        prompt=Prompt(texts=(prompt,), message_count=1),
        stream=body.get("stream") is True,
        wants_usage=True,
        choices=count,
        more_thinking_tokens=(body.get("partial_images") or 0) * _TOKENS_PER_PARTIAL_IMAGE,
        user=body.get("user"),
        is_divisible=False,
        units={f"image:{quality}:{size}": count},
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model."""
    return {} if body.get("model") == provider_model else {"model": provider_model}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=base_path.rstrip("/") + "/images/generations")


def read_answer(answer: Answer) -> Reading:
    """The provider's usage, or that there is what was asked for."""
    if not answer.is_readable:
        return Reading()
    if answer.is_event_stream:
        return read_media_stream(answer, last_event="image_generation.completed", output="image")
    return read_media(answer, output="image")


def _is_plain_word(value: Any, name: str) -> None:
    """It becomes part of the name of a piece."""
    is_text(value, name)
    if value is not None and not value.replace("-", "").isalnum():
        raise InvalidRequest(f"This value of {name} is not available through this gateway.", param=name)


def _is_partial_count(value: Any, name: str) -> None:
    if value != 0:
        is_count(_MAX_PARTIAL_IMAGES)(value, name)


_CHECKS: Final[Mapping[str, Check]] = {
    "model": passes,
    "prompt": passes,
    "n": is_count(_MAX_IMAGES),
    "quality": _is_plain_word,
    "size": _is_plain_word,
    "stream": is_flag,
    "partial_images": _is_partial_count,
    "user": is_text,
}
