"""OpenAI's images (POST /v1/images/generations, /edits and /variations): billed by tokens, which the answer tells, or
by the picture.

No member of a request bounds the tokens of a picture: a model's greatest output is what one picture may take, and its
context what the pictures in a form may. Edits and variations are forms; as JSON, which could name pictures at addresses
and in the provider's account, they are refused.
https://developers.openai.com/api/reference/resources/images
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kong_plugins.llm.body import Body
from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.forms import Attachment, Form, with_types
from kong_plugins.llm.protocols.answers import Answer, Reading
from kong_plugins.llm.protocols.checks import Check, check_members, is_count, is_flag, is_text, model_name, passes
from kong_plugins.llm.protocols.limit_headers import openai_limit_headers
from kong_plugins.llm.protocols.openai_dialect import openai_credential_headers, openai_error_body
from kong_plugins.llm.protocols.openai_media_usage import read_media, read_media_stream
from kong_plugins.llm.requests import Asked, ModelRequest, Target
from kong_plugins.llm.tokens import Prompt

READS_TARGET: Final = True
credential_headers = openai_credential_headers
error_body = openai_error_body
limit_headers = openai_limit_headers

PATH: Final = r"/v1/images/(?:generations|edits|variations)"
_WAY: Final = re.compile(r"/images/(generations|edits|variations)$")
_MAX_IMAGES: Final = 10
_MAX_PARTIAL_IMAGES: Final = 3
# https://developers.openai.com/api/docs/guides/image-generation#partial-images-cost
_TOKENS_PER_PARTIAL_IMAGE: Final = 100
# What a model that is billed by the picture draws where it is not told.
_STANDARD_QUALITY: Final = "standard"
_STANDARD_SIZE: Final = "1024x1024"
_LAST_EVENTS: Final = frozenset({"image_generation.completed", "image_edit.completed"})
_UNTOUCHED: Final = frozenset(
    {
        "background",
        "input_fidelity",
        "moderation",
        "output_compression",
        "output_format",
        "response_format",
        "safety_identifier",
        "style",
    }
)


def parse_request(body: Body, asked: Asked) -> ModelRequest:
    """Read a request.

    Raises:
        InvalidRequest: the path is none of this format's, or a member has a wrong type or value, or cannot be metered.
    """
    way = _way(body, asked)
    body = with_types(body, numbers=("n", "partial_images"), flags=("stream",))
    check_members(body, _CHECKS if way == "generations" else _FORM_CHECKS, untouched=_UNTOUCHED)
    prompt, count = body.get("prompt"), body.get("n") or 1
    if not isinstance(prompt, str) and (way != "variations" or prompt is not None):
        raise InvalidRequest("prompt must be a text.", param="prompt")
    if body.get("stream") and count > 1:
        raise InvalidRequest("Only one image at a time can be streamed through this gateway.", param="n")
    quality, size = body.get("quality") or _STANDARD_QUALITY, body.get("size") or _STANDARD_SIZE
    return ModelRequest(
        model=model_name(body),
        prompt=Prompt(texts=(prompt or "",), message_count=1, has_media=way != "generations"),
        stream=body.get("stream") is True,
        wants_usage=True,
        choices=count,
        more_thinking_tokens=(body.get("partial_images") or 0) * _TOKENS_PER_PARTIAL_IMAGE,
        user=body.get("user"),
        is_divisible=False,
        units={f"image:{quality}:{size}": count},
        way=way,
    )


def upstream_changes(
    body: Body, request: ModelRequest, *, provider_model: str, granted_max_tokens: int
) -> dict[str, object]:
    """The provider's own name of the model."""
    return {} if body.get("model") == provider_model else {"model": provider_model}


def upstream_target(base_path: str, request: ModelRequest, provider_model: str) -> Target:
    """Where the call goes under the path of a deployment's base URL, such as `/v1`."""
    return Target(path=f"{base_path.rstrip('/')}/images/{request.way}")


def read_answer(answer: Answer) -> Reading:
    """The provider's usage, or that there is what was asked for."""
    if not answer.is_readable:
        return Reading()
    if answer.is_event_stream:
        return read_media_stream(answer, last_events=_LAST_EVENTS, output="image")
    return read_media(answer, output="image")


def _way(body: Body, asked: Asked) -> str:
    """What is asked for, by the end of the path: a form where pictures belong to it, else JSON."""
    way = _WAY.search(asked.path)
    if way is None:
        raise InvalidRequest("The path must be /v1/images/generations, /v1/images/edits or /v1/images/variations.")
    if isinstance(body, Form) != (way[1] != "generations"):
        raise InvalidRequest("Send edits and variations of images as multipart/form-data, and all else as JSON.")
    return way[1]


def _are_files(value: Any, name: str) -> None:
    if not all(isinstance(each, Attachment) for each in (value if isinstance(value, list) else [value])):
        raise InvalidRequest(f"{name} must be a file in the form.", param=name)


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
_FORM_CHECKS: Final[Mapping[str, Check]] = {**_CHECKS, "image": _are_files, "image[]": _are_files, "mask": _are_files}
